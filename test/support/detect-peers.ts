import { existsSync } from "node:fs";
import { connect } from "node:net";
import type { TestProject } from "vitest/node";

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
    postgresql: await portProblem(process.env.TEST_POSTGRESQL_URL ?? "postgresql://127.0.0.1:5432"),
    nats: await portProblem(process.env.TEST_NATS_URL ?? "nats://127.0.0.1:4222"),
    "nats-server": programProblem("/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"),
    pg_dump: programProblem("/usr/bin/pg_dump", "/usr/local/bin/pg_dump"),
    chromium: programProblem(process.env.TEST_CHROMIUM ?? "/usr/bin/chromium"),
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
