import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LocalHost } from "../../../../agent/host/local.ts";
import { hostKeyFingerprint } from "../../../../agent/host/ssh/host-keys.ts";
import { openSshHost, type SshHost, type SshHostOptions } from "../../../../agent/host/ssh/ssh-host.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { SshServer } from "../../../support/ssh-server.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const { signal } = new AbortController();

describeWithPeers("a host over SSH", "sshd", () => {
  let sshd: SshServer;
  let other: SshServer;
  let host: SshHost;

  beforeAll(async () => {
    sshd = await SshServer.start();
    other = await SshServer.start({ settings: ["AllowStreamLocalForwarding no", "MaxSessions 2"] });
    host = await open(sshd);
  });

  afterAll(async () => {
    await host?.close();
    await sshd?.stop();
    await other?.stop();
  });

  async function open(server: SshServer, overrides: Partial<SshHostOptions> = {}): Promise<SshHost> {
    const privateKey = await readFile(server.identityFile, "utf8");
    const { address, port, user, hostKey } = server;
    return openSshHost({ host: address, port, user, privateKey, hostKeys: [hostKey], log, ...overrides });
  }

  async function failureOf(overrides: Partial<SshHostOptions>): Promise<unknown> {
    await using refused = await open(sshd, overrides);
    return await refused.attempt(signal).catch((error: unknown) => error);
  }

  test("is read as the machine itself is", async () => {
    const local = new LocalHost();
    expect(await host.read("/proc/sys/kernel/ostype")).toBe("Linux\n");
    expect(await host.list("/sys/bus/pci/devices")).toEqual(await local.list("/sys/bus/pci/devices"));
    expect(await host.readLink("/proc/mounts")).toBe(await local.readLink("/proc/mounts"));
    expect(await host.architecture()).toBe(await local.architecture());
    expect(await host.addresses()).toEqual(expect.arrayContaining(await local.addresses()));
    const size = await host.fileSystem("/");
    expect(size.totalBytes).toBe((await local.fileSystem("/")).totalBytes);
    expect(size.inodes?.total).toBe((await local.fileSystem("/")).inodes?.total);
    for (const [action, reason] of [
      [() => host.read("/nowhere/at-all"), "NOT_PRESENT"],
      [() => host.list("/proc/version"), "NOT_PRESENT"],
      [() => host.readLink("/proc/version"), "NOT_SUPPORTED"],
      [() => host.fileSystem("/nowhere"), "NOT_PRESENT"],
    ] as const) {
      await expect(action()).rejects.toMatchObject({ name: "HostReadError", reason });
    }
  });

  test("gives one moment of what is named, by one command", async () => {
    const commands = [{ program: "uname", args: ["-r"] }];
    const snapshot = await host.snapshot({ paths: ["/sys/class/net/*", "/sys/class/net/*/address", "/proc/version"], commands });
    const local = new LocalHost();
    for (const name of await local.list("/sys/class/net")) {
      expect(await snapshot.readLink(`/sys/class/net/${name}`)).toBe(await local.readLink(`/sys/class/net/${name}`));
      expect(await snapshot.read(`/sys/class/net/${name}/address`)).toBe(await local.read(`/sys/class/net/${name}/address`));
    }
    const { exitCode, stdout } = await snapshot.exec(commands[0] as (typeof commands)[0]);
    expect([exitCode, stdout]).toEqual([0, await local.read("/proc/sys/kernel/osrelease")]);
    await expect(snapshot.read("/proc/uptime")).rejects.toMatchObject({ reason: "UNREADABLE" });
  });

  test("keeps a shell for snapshots; one that was killed, or is missing for others, is no loss", async () => {
    const self = { program: "sh", args: ["-c", "ps -o sess= -p $$"] };
    const shellOf = async (of: SshHost) => (await (await of.snapshot({ paths: [], commands: [self] })).exec(self)).stdout.trim();
    const shell = await shellOf(host);
    expect(await shellOf(host)).toBe(shell);
    const both = await Promise.all([shellOf(host), shellOf(host)]);
    expect(new Set(both).size).toBe(2);
    process.kill(Number(shell), "SIGKILL");
    const next = await until(async () => (await shellOf(host).catch(() => shell)) !== shell, "another shell").then(() => shellOf(host));
    expect(await shellOf(host)).toBe(next);

    await using narrow = await open(other);
    await shellOf(narrow);
    const running = await narrow.follow({ program: "sleep", args: ["43.5"] }, signal);
    // sshd allows two sessions: the shell gives way.
    expect((await narrow.exec({ program: "echo", args: ["third"] })).stdout).toBe("third\n");
    expect(await shellOf(narrow)).not.toBe("");
    await running.close();
  });

  test("runs programs, with arguments that no shell touches, input, exit codes and limits", async () => {
    const words = ["a b", "'", '"$(reboot)"', "*", "", "\\n"];
    expect((await host.exec({ program: "printf", args: ["%s|", ...words] })).stdout).toBe(words.map((word) => `${word}|`).join(""));
    expect(await host.exec({ program: "sh", args: ["-c", "cat; echo problem >&2; exit 3"] }, { input: "in" })).toEqual({
      ...{ exitCode: 3, stdout: "in", stderr: "problem\n" },
    });
    await expect(host.exec({ program: "no-such-program", args: [] })).rejects.toMatchObject({ reason: "NOT_INSTALLED" });
    await expect(host.exec({ program: "yes", args: [] }, { maxBytes: 100_000 })).rejects.toMatchObject({ reason: "UNREADABLE" });
    await expect(host.exec({ program: "sleep", args: ["31.25"] }, { timeoutMs: 300 })).rejects.toMatchObject({ reason: "TIMEOUT" });
    await untilGone("sleep 31.25");
  });

  test("runs more programs than sshd allows sessions, in turn", async () => {
    const numbers = Array.from({ length: 25 }, (_, index) => String(index));
    const results = await Promise.all(numbers.map((number) => host.exec({ program: "echo", args: [number] })));
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(numbers);
  });

  test("follows a program, and ends it when it is closed or the connection is lost", async () => {
    const script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done";
    const program = await host.follow({ program: "sh", args: ["-c", `${script} # 41.5`] }, signal);
    const seen: string[] = [];
    for await (const line of program.lines) if (seen.push(line) === 3) break;
    expect(seen).toEqual(["line 1", "line 2", "line 3"]);
    await program.close();
    await untilGone("# 41.5");

    const lost = await host.follow({ program: "sleep", args: ["42.75"] }, signal);
    await sshd.kill();
    expect(await lost.ended).toMatchObject({ exitCode: null, stderr: expect.stringContaining("lost") });
    await untilGone("sleep 42.75");
    await expect(until(() => host.read("/proc/version").then(() => true), "an error")).rejects.toMatchObject({
      reason: "HOST_UNREACHABLE",
    });
    expect(host.connected).toBe(false);
    await sshd.start();
    await until(() => host.connected, "the host");
    expect(await host.read("/proc/sys/kernel/ostype")).toBe("Linux\n");
  });

  test("leads to sockets of the host, also where sshd forwards none", async () => {
    const path = join(tmpdir(), `fleetgraph-echo-${process.pid}`);
    const server = createServer((socket) => socket.pipe(socket)).listen(path);
    await using plain = await open(other);
    try {
      for (const way of [host, plain]) {
        const socket = await way.connect(path, signal);
        const sent = Buffer.alloc(300_000, "0123456789");
        const received = new Promise<Buffer>((resolve) => {
          const chunks: Buffer[] = [];
          let length = 0;
          socket.on("data", (chunk: Buffer) => {
            chunks.push(chunk);
            length += chunk.length;
            if (length >= sent.length) resolve(Buffer.concat(chunks));
          });
        });
        socket.write(sent);
        expect((await received).equals(sent)).toBe(true);
        socket.destroy();
        await expect(way.connect("/nowhere/socket", signal)).rejects.toMatchObject({ reason: "NOT_PRESENT" });
      }
    } finally {
      server.close();
    }
  });

  test("is refused at the step at which it fails, and says so", async () => {
    const otherKey = await readFile(other.identityFile, "utf8");
    expect(await failureOf({ hostKeys: [other.hostKey] })).toMatchObject({
      ...{ code: "FAILED_PRECONDITION", reason: "HostKeyChanged", details: { step: "HOST_KEY", hostKey: sshd.hostKey } },
    });
    const rsa = `ssh-rsa ${Buffer.from("\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01").toString("base64")}`;
    expect(await failureOf({ hostKeys: [rsa] })).toMatchObject({ reason: "HostKeyChanged" });
    expect(await failureOf({ privateKey: otherKey })).toMatchObject({ code: "UNAUTHENTICATED", reason: "AuthenticationFailed" });
    expect(await failureOf({ privateKey: undefined, password: "wrong" })).toMatchObject({ reason: "AuthenticationFailed" });
    expect(await failureOf({ port: 1 })).toMatchObject({ code: "UNAVAILABLE", reason: "ConnectFailed", details: { step: "CONNECT" } });
    expect(await failureOf({ host: "no-such-host.invalid" })).toMatchObject({ reason: "ResolveFailed", details: { step: "RESOLVE" } });
    await expect(open(sshd, { privateKey: "nonsense" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("is pinned by the key that it shows at first contact", async () => {
    await using first = await open(sshd, { hostKeys: [] });
    await first.attempt(signal);
    expect(first.hostKey).toBe(sshd.hostKey);
    expect(hostKeyFingerprint(sshd.hostKey)).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
  });
});

/** Waits until no process has these words in its command line. */
async function untilGone(words: string): Promise<void> {
  const local = new LocalHost();
  await until(async () => {
    await sleep(50);
    const { exitCode } = await local.exec({ program: "pgrep", args: ["-f", "--", words] });
    return exitCode === 1;
  }, `the end of ${words}`);
}
