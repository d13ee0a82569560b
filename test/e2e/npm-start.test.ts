import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { freePorts } from "../support/part.ts";
import { until } from "../support/until.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const WAIT_MS = 60_000;

async function isServing(url: string): Promise<boolean> {
  return fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
    ({ ok }) => ok,
    () => false,
  );
}

test("npm start passes flags on, prints the sign-in link, and takes the server with it when npm is stopped", async () => {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-npm-start-"));
  const [port, grpcPort, agentPort, controlPort] = await freePorts(4);
  const url = `http://127.0.0.1:${port}`;
  const flags = ["--port", `${port}`, "--grpc-port", `${grpcPort}`, "--agent-port", `${agentPort}`, "--control-port", `${controlPort}`];
  const npm = spawn("npm", ["start", "--", ...flags, "--data", join(directory, "data")], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  try {
    let printed = "";
    for (const output of [npm.stdout, npm.stderr]) output.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    await until(() => isServing(url), "the server", WAIT_MS);
    await until(() => printed.includes(`${url}/#code=`), "the link", WAIT_MS);
    const ended = once(npm, "exit");
    npm.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  } finally {
    npm.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
  }
});
