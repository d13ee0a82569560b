import { existsSync } from "node:fs";
import { connect } from "node:net";
import type { TestProject } from "vitest/node";
import { CHROMIUM, NATS_URL, POSTGRESQL_URL } from "./peer-addresses.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Null where the peer answers; otherwise why a test that needs it cannot run. */
    peers: Record<string, string | null>;
  }
}

const CONNECT_TIMEOUT_MS = 1_000;

/** Looks once per test run for the real servers and programs that tests talk to; test/support/peers.ts hands it to them. */
export default async function detectPeers(project: TestProject): Promise<void> {
  project.provide("peers", {
    postgresql: await portProblem(POSTGRESQL_URL),
    nats: await portProblem(NATS_URL),
    "nats-server": programProblem("/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"),
    chromium: programProblem(CHROMIUM),
    "network-namespaces": process.getuid?.() === 0 ? programProblem("/usr/sbin/ip", "/sbin/ip") : "needs root",
  });
}

function programProblem(...paths: string[]): string | null {
  return paths.some((path) => existsSync(path)) ? null : `${paths[0]} is not installed`;
}

function portProblem(url: string): Promise<string | null> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: CONNECT_TIMEOUT_MS });
    const settle = (problem: string | null) => {
      socket.destroy();
      resolve(problem);
    };
    socket.once("connect", () => settle(null));
    socket.once("timeout", () => settle(`${hostname}:${port} does not answer`));
    socket.once("error", (error: NodeJS.ErrnoException) => settle(`${hostname}:${port} does not answer (${error.code ?? error.message})`));
  });
}
