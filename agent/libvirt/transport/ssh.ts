import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { SshWay } from "./libvirt-uri.ts";
import type { Transport } from "./transport.ts";

export interface SshOptions {
  identityFile?: string;
  knownHostsFile?: string;
  /** As after ssh's -o: "ProxyJump=bastion". */
  options?: string[];
}

/** How much of what ssh said last goes into the error. */
const SAID_BYTES = 2000;
const SAID_LINES = 3;
const KILL_AFTER_MS = 1000;

/**
 * A daemon on another host: ssh runs, over there, libvirt's own helper, or netcat on the socket. By key only; a host whose key is not known
 * is refused. Resolves before the other host has answered: what fails there ends the transport, with what ssh said.
 */
export function openSsh(way: SshWay, openName: string, options: SshOptions = {}): Transport {
  const child = spawn("ssh", sshArguments(way, openName, options), { stdio: ["pipe", "pipe", "pipe"] });
  const ended = Promise.withResolvers<Error>();
  const gone = Promise.withResolvers<void>();
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-SAID_BYTES);
  });
  child.once("error", (error: NodeJS.ErrnoException) => {
    ended.resolve(unavailable(error.code === "ENOENT" ? "ssh is not installed here." : error.message));
    gone.resolve();
  });
  child.once("close", (code, signal) => {
    ended.resolve(unavailable(lastLines(said) || `ssh ended (${signal ?? code}).`));
    gone.resolve();
  });
  // Its exit says why; a broken pipe only follows from it.
  for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on("error", () => undefined);
  return { input: child.stdout, output: child.stdin, ended: ended.promise, close: () => endChild(child, gone.promise) };
}

async function endChild(child: ChildProcessByStdio<Writable, Readable, Readable>, gone: Promise<void>): Promise<void> {
  child.stdout.destroy();
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
  try {
    await gone;
  } finally {
    clearTimeout(timer);
  }
}

/** What ssh is started with. */
export function sshArguments(way: SshWay, openName: string, { identityFile, knownHostsFile, options = [] }: SshOptions = {}): string[] {
  const identity = identityFile ?? way.identityFile;
  const knownHosts = knownHostsFile ?? way.knownHostsFile;
  const settings = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    ...(identity === null ? [] : [`IdentityFile=${quotedPath(identity)}`, "IdentitiesOnly=yes"]),
    ...(knownHosts === null ? [] : [`UserKnownHostsFile=${quotedPath(knownHosts)}`]),
    // The first value of a setting counts: these can be changed by what is given.
    ...options,
    "ConnectTimeout=10",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
  ];
  return [
    "-T",
    "-e",
    "none",
    ...settings.flatMap((setting) => ["-o", setting]),
    ...(way.port === null ? [] : ["-p", String(way.port)]),
    ...(way.user === null ? [] : ["-l", way.user]),
    "--",
    way.host,
    remoteCommand(way.socketPath, openName),
  ];
}

const DEFAULT_SOCKET = "/run/libvirt/libvirt-sock";

/** One text for the other user's shell, whichever that is: words in single quotes, the script itself for sh. */
function remoteCommand(socketPath: string | null, openName: string): string {
  if (socketPath !== null) return ["exec", "nc", "-U", quotedWord(socketPath)].join(" ");
  const script = 'if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper "$0"; else exec nc -U "$1"; fi';
  return ["exec", "sh", "-c", quotedWord(script), quotedWord(openName), quotedWord(DEFAULT_SOCKET)].join(" ");
}

function quotedWord(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** ssh splits a setting at spaces unless it is in double quotes, and replaces what stands after a percent sign. */
function quotedPath(path: string): string {
  if (/["\n]/.test(path)) throw invalidArgument("ssh", `ssh takes no path with a double quote or a line break: ${JSON.stringify(path)}.`);
  return `"${path.replaceAll("%", "%%")}"`;
}

function unavailable(why: string): FleetError {
  return new FleetError("UNAVAILABLE", `The connection to libvirt over ssh was lost: ${why}`);
}

function lastLines(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(-SAID_LINES)
    .join(" ");
}
