import { existsSync } from "node:fs";
import { connect } from "node:net";
import type { TestProject } from "vitest/node";
import { kubernetesPrograms, prometheusProgram, type Say } from "./kubernetes/programs.ts";
import { CHROMIUM, NATS_URL, POSTGRESQL_URL } from "./peer-addresses.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Null where the peer answers; otherwise why a test that needs it cannot run. */
    peers: Record<string, string | null>;
  }
}

const CONNECT_TIMEOUT_MS = 1_000;
const QEMU = "/usr/bin/qemu-system-x86_64";
const QEMU_DRIVER = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so";
const NO_PEERS = "unit tests have no peers";
const NETAVARK = "/usr/lib/podman/netavark";

/** Looks once per test run for the real servers and programs that tests talk to; test/support/peers.ts hands it to them. */
export default async function detectPeers(project: TestProject): Promise<void> {
  project.provide("peers", {
    postgresql: await portProblem(POSTGRESQL_URL),
    nats: await portProblem(NATS_URL),
    "nats-server": programProblem("/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"),
    chromium: programProblem(CHROMIUM),
    "network-namespaces": rootProblem() ?? programProblem("/usr/sbin/ip", "/sbin/ip"),
    libvirt: rootProblem() ?? everyProgramProblem("/usr/sbin/libvirtd", "/usr/bin/virsh", QEMU, QEMU_DRIVER),
    "tiny-guest": everyProgramProblem(QEMU, "/usr/bin/qemu-img", "/bin/busybox", "/usr/bin/cpio", "/usr/bin/syslinux", "/usr/bin/mformat"),
    "rich-guest":
      rootProblem() ??
      everyProgramProblem(QEMU, "/usr/bin/mmdebstrap", "/usr/sbin/mke2fs", "/usr/bin/setpriv", "/usr/bin/ssh", "/usr/bin/ssh-keygen"),
    pciutils: programProblem("/usr/bin/lspci", "/usr/sbin/lspci", "/sbin/lspci"),
    podman: rootProblem() ?? everyProgramProblem("/usr/bin/podman", "/usr/sbin/runc", NETAVARK, "/bin/busybox"),
    smartctl: programProblem("/usr/sbin/smartctl", "/usr/bin/smartctl", "/sbin/smartctl"),
    registry: everyProgramProblem("/usr/bin/docker-registry"),
    "journal-remote": everyProgramProblem("/lib/systemd/systemd-journal-remote", "/usr/bin/journalctl"),
    udevadm: programProblem("/usr/bin/udevadm", "/sbin/udevadm"),
    ...(await builtProblems(project.name)),
    sshd: rootProblem() ?? everyProgramProblem("/usr/sbin/sshd", "/usr/bin/ssh"),
  });
}

/** Programs that are built or fetched where they are missing, but not for unit tests, which have no peers. */
async function builtProblems(projectName: string): Promise<Record<"kubernetes" | "prometheus", string | null>> {
  if (projectName === "unit") return { kubernetes: NO_PEERS, prometheus: NO_PEERS };
  const say: Say = (what) => process.stdout.write(` ${what}\n`);
  const problem = (program: Promise<unknown>) => program.then(() => null).catch((error: Error) => error.message);
  return { kubernetes: await problem(kubernetesPrograms(say)), prometheus: await problem(prometheusProgram(say)) };
}

function rootProblem(): string | null {
  return process.getuid?.() === 0 ? null : "needs root";
}

/** `paths` are the places where one program may be. */
function programProblem(...paths: string[]): string | null {
  return paths.some((path) => existsSync(path)) ? null : `${paths[0]} is not installed`;
}

function everyProgramProblem(...paths: string[]): string | null {
  const missing = paths.find((path) => !existsSync(path));
  return missing === undefined ? null : `${missing} is not installed`;
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
