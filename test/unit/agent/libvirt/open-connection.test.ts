import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "../../../../agent/libvirt/open-connection.ts";
import { STATUS } from "../../../../agent/libvirt/protocol/frame.ts";
import { remoteError } from "../../../../agent/libvirt/protocol/structures.ts";
import { XdrReader } from "../../../../agent/libvirt/protocol/xdr.ts";
import { LibvirtPeer, type PeerConnection, replyTo } from "../../../support/libvirt-peer.ts";

let daemon: LibvirtPeer;
beforeAll(async () => {
  daemon = await LibvirtPeer.start();
});
afterAll(() => daemon.close());

function opening(overrides: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  return openConnection({
    target: { openName: "qemu:///system", way: { kind: "unix", socketPaths: ["/nowhere/libvirt-sock", daemon.socketPath] } },
    callTimeoutMs: 10_000,
    keepalive: { intervalMs: 60_000, unanswered: 5 },
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    ...overrides,
  });
}

/** The daemon's part, up to the opening of the hypervisor. */
async function signsIn(peer: PeerConnection, types: number[]): Promise<void> {
  peer.reply(await peer.next(), "authList", { types });
}

describe("opening a connection", () => {
  test("asks how to sign in, announces the keepalive, and names the hypervisor", async () => {
    const [peer, connection] = [daemon.accept(), opening()];
    await signsIn(await peer, [0]);
    const feature = await (await peer).next();
    expect([feature.procedure, new XdrReader(feature.body).int()]).toEqual([60, 10]);
    (await peer).reply(feature, "connectSupportsFeature", { supported: true });
    const open = await (await peer).next();
    const reader = new XdrReader(open.body);
    expect([open.procedure, reader.boolean(), reader.string(), reader.uint()]).toEqual([1, true, "qemu:///system", 0]);
    (await peer).reply(open, "connectOpen", {});
    await (await connection).close();
  });

  test("lets polkit decide where the daemon does", async () => {
    const [peer, connection] = [daemon.accept(), opening()];
    await signsIn(await peer, [2]);
    const polkit = await (await peer).next();
    expect(polkit.procedure).toBe(70);
    (await peer).send({ ...replyTo(polkit), status: STATUS.ERROR }, (writer) =>
      remoteError.write(writer, { code: 45, domain: 7, message: "authentication failed", level: 2, int1: 0, int2: 0 }),
    );
    await expect(connection).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "LibvirtAuthentication",
      message: expect.stringMatching(/group libvirt.*org\.libvirt\.unix\.manage.*auth_unix_rw/),
    });
    await (await peer).closed;
  });

  test("is given up, and closed, when the daemon does not answer in time", async () => {
    const [peer, connection] = [daemon.accept(), opening({ timeoutMs: 30 })];
    await expect(connection).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("did not answer within") });
    await (await peer).closed;
  });

  test("is closed when it is aborted", async () => {
    const aborting = new AbortController();
    const [peer, connection] = [daemon.accept(), opening({ signal: aborting.signal })];
    await (await peer).next();
    aborting.abort();
    await expect(connection).rejects.toMatchObject({ code: "CANCELLED" });
    await (await peer).closed;
  });

  test("says why the connection ended, rather than that a call on it failed", async () => {
    const [peer, connection] = [daemon.accept(), opening()];
    (await peer).socket.write("Welcome to host-1!\n".repeat(3));
    await expect(connection).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtProtocol" });
  });
});
