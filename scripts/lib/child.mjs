import { spawn } from "node:child_process";
import { constants } from "node:os";
import { ROOT } from "./paths.mjs";

/**
 * Runs a program to its end with this process's own input and output; resolves to its exit code (128 + signal where one ended it).
 * Signals are handed on, so that stopping this process stops the program and waits for it.
 */
export function runToEnd(file, args, { cwd = ROOT, env = process.env, stdio = "inherit" } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env, stdio });
    const handOn = (signal) => child.kill(signal);
    // A terminal sends SIGINT to the whole group: the program has it already.
    const interrupt = () => {
      if (!process.stdin.isTTY) child.kill("SIGINT");
    };
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", handOn);
    process.on("SIGHUP", handOn);
    const forget = () => {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", handOn);
      process.off("SIGHUP", handOn);
    };
    child.once("error", (error) => {
      forget();
      reject(error);
    });
    child.once("close", (code, signal) => {
      forget();
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** Runs a program and collects what it says; never rejects for an exit code. It ends with this process. `input` is written to its standard input. */
export function capture(file, args, { cwd = ROOT, env = process.env, input } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env, stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"] });
    const out = [];
    const all = [];
    const stop = () => child.kill();
    process.once("exit", stop);
    child.stdout.on("data", (chunk) => {
      out.push(chunk);
      all.push(chunk);
    });
    child.stderr.on("data", (chunk) => all.push(chunk));
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    child.once("error", reject);
    child.once("close", (code) => {
      process.off("exit", stop);
      resolve({ code: code ?? 1, stdout: Buffer.concat(out), text: Buffer.concat(all).toString("utf8") });
    });
  });
}

/** `capture` that throws with everything the program said where it fails. */
export async function mustRun(file, args, options) {
  const result = await capture(file, args, options);
  if (result.code !== 0) throw new Error(`${[file, ...args].join(" ")} ended with ${result.code}\n${result.text.trim()}`);
  return result;
}
