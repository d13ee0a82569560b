import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeFrame, MESSAGE, STATUS } from "../../../../agent/libvirt/protocol/frame.ts";
import { remoteError } from "../../../../agent/libvirt/protocol/structures.ts";
import { LibvirtPeer, type PeerConnection, replyTo } from "../../../support/libvirt-peer.ts";
import { until } from "../../../support/until.ts";

const EMPTY = { domains: [], ret: 0 };
const PING = { program: "keepalive", procedure: 1, type: MESSAGE.EVENT, serial: 0, status: STATUS.OK } as const;

let daemon: LibvirtPeer;
beforeAll(async () => {
  daemon = await LibvirtPeer.start();
});
afterAll(() => daemon.close());

function sendError(peer: PeerConnection, serial: number): void {
  const error = { code: 42, domain: 12, message: "Domain not found", level: 2, int1: -1, int2: -1 };
  const header = { program: "remote", procedure: 273, type: MESSAGE.REPLY, serial, status: STATUS.ERROR } as const;
  peer.send(header, (writer) => remoteError.write(writer, error));
}

describe("a connection", () => {
  test("matches answers to calls in whatever order they come", async () => {
    const { client, peer } = await daemon.connect();
    const answers = ["a", "b", "c"].map((name) => client.call("domainLookupByName", { name }));
    const calls = [await peer.next(), await peer.next(), await peer.next()];
    const domain = (id: number) => ({ dom: { name: "x", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id } });
    for (const [id, call] of [...calls.entries()].reverse()) peer.reply(call, "domainLookupByName", domain(id));
    expect((await Promise.all(answers)).map(({ dom }) => dom.id)).toEqual([0, 1, 2]);
    await client.close();
  });

  test("gives what the daemon says is wrong with its code and its part of libvirt", async () => {
    const { client, peer } = await daemon.connect();
    const call = client.call("connectListAllDomains", {});
    sendError(peer, (await peer.next()).serial);
    await expect(call).rejects.toMatchObject({
      name: "LibvirtError",
      code: 42,
      codeName: "NO_DOMAIN",
      domainName: "TEST",
      procedure: "connectListAllDomains",
    });
    await client.close();
  });

  test("sends four calls at most, until the daemon has answered one", async () => {
    const { client, peer } = await daemon.connect();
    const answers = Array.from({ length: 6 }, () => client.call("connectListAllDomains", {}));
    const calls = await Promise.all([peer.next(), peer.next(), peer.next(), peer.next()]);
    // Whatever else was sent would have come before the answer to this.
    peer.send(PING);
    expect(await peer.next()).toMatchObject({ program: "keepalive", procedure: 2 });
    peer.reply(calls[0]!, "connectListAllDomains", EMPTY);
    const fifth = await peer.next();
    for (const call of [...calls.slice(1), fifth]) peer.reply(call, "connectListAllDomains", EMPTY);
    peer.reply(await peer.next(), "connectListAllDomains", EMPTY);
    await Promise.all(answers);
    await client.close();
  });

  test("gives up a call at its deadline, but not its place: the daemon is still at it", async () => {
    const { client, peer } = await daemon.connect();
    const late = Array.from({ length: 4 }, () => client.call("connectListAllDomains", {}, { timeoutMs: 1 }).catch((error: Error) => error));
    const calls = await Promise.all([peer.next(), peer.next(), peer.next(), peer.next()]);
    for (const error of await Promise.all(late)) {
      expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED", details: { procedure: "connectListAllDomains" } });
    }
    const next = client.call("connectListAllDomains", {});
    peer.send(PING);
    expect(await peer.next()).toMatchObject({ program: "keepalive" });
    peer.reply(calls[0]!, "connectListAllDomains", EMPTY);
    peer.reply(await peer.next(), "connectListAllDomains", EMPTY);
    expect(await next).toEqual(EMPTY);
    await client.close();
  });

  test("takes a call back that its caller aborts before it was sent", async () => {
    const { client, peer } = await daemon.connect();
    const running = Array.from({ length: 4 }, () => client.call("connectListAllDomains", {}));
    const aborting = new AbortController();
    const waiting = client.call("connectGetHostname", {}, { signal: aborting.signal });
    aborting.abort();
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(client.call("connectGetHostname", {}, { signal: aborting.signal })).rejects.toMatchObject({ code: "CANCELLED" });
    const last = client.call("connectListAllDomains", {});
    for (let calls = 0; calls < 5; calls++) {
      const call = await peer.next();
      expect(call.procedure).toBe(273);
      peer.reply(call, "connectListAllDomains", EMPTY);
    }
    await Promise.all([...running, last]);
    await client.close();
  });

  test("says of calls under way that their outcome is not known, and of others that they were not sent, when it is lost", async () => {
    const { client, peer } = await daemon.connect();
    const sent = Array.from({ length: 4 }, () => client.call("connectListAllDomains", {}).catch((error: Error) => error));
    const waiting = client.call("connectListAllDomains", {}).catch((error: Error) => error);
    await peer.next();
    peer.socket.destroy();
    for (const error of await Promise.all(sent)) expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtConnectionLost" });
    expect(await waiting).toMatchObject({ name: "CallNotSent" });
    expect(await client.ended).toMatchObject({ code: "UNAVAILABLE" });
    await expect(client.call("connectListAllDomains", {})).rejects.toMatchObject({ name: "CallNotSent" });
  });

  test("answers pings", async () => {
    const { client, peer } = await daemon.connect();
    peer.send(PING);
    expect(await peer.next()).toEqual({ ...PING, procedure: 2, body: Buffer.alloc(0) });
    await client.close();
  });

  test("ends when its pings are not answered", async () => {
    const { client, peer } = await daemon.connect();
    client.keepAlive({ intervalMs: 5, unanswered: 3 });
    const call = client.call("connectListAllDomains", {});
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await client.ended).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("has not answered") });
    await peer.closed;
    const pings = [await peer.next(), await peer.next(), await peer.next(), await peer.next()].filter(
      ({ program }) => program === "keepalive",
    );
    expect(pings.map(({ procedure }) => procedure)).toEqual([1, 1, 1]);
    expect(peer.waiting).toBe(0);
  });

  test("lives on as long as something comes, a ping's answer or anything else", async () => {
    const { client, peer } = await daemon.connect();
    client.keepAlive({ intervalMs: 5, unanswered: 2 });
    for (let pings = 0; pings < 10; pings++) {
      expect(await peer.next()).toMatchObject({ program: "keepalive", procedure: 1 });
      peer.send({ ...PING, procedure: 2 });
    }
    const call = client.call("connectListAllDomains", {});
    let message = await peer.next();
    while (message.program === "keepalive") message = await peer.next();
    peer.reply(message, "connectListAllDomains", EMPTY);
    await call;
    await client.close();
  });

  test("hands on events in their order, between the answers", async () => {
    const seen: number[] = [];
    const { client, peer } = await daemon.connect((procedure) => seen.push(procedure));
    const call = client.call("connectListAllDomains", {});
    const message = await peer.next();
    const event = (procedure: number) => encodeFrame({ program: "remote", procedure, type: MESSAGE.EVENT, serial: 0, status: STATUS.OK });
    const answer = encodeFrame(replyTo(message), (writer) => {
      writer.uint(0);
      writer.uint(0);
    });
    peer.socket.write(Buffer.concat([event(318), event(319), answer, event(318)]));
    await call;
    await until(() => seen.length === 3);
    expect(seen).toEqual([318, 319, 318]);
    await client.close();
  });
});
