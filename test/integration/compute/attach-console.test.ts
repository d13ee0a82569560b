import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { ComputeServiceDefinition, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ConsoleEnd } from "../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { Attached } from "../../support/attached-client.ts";
import { ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

describe("AttachConsole", () => {
  let plane: ComputeControlPlane;
  let agent: RecordedAgent;
  let instanceId: string;
  let made = 0;

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    agent = await plane.node("node-1");
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  beforeEach(async () => {
    made += 1;
    const spec = { image: "debian", cpuCores: 1, memoryBytes: GIB };
    const operator = await plane.client();
    instanceId = (await operator.createInstance({ name: `attached-${made}`, type: InstanceType.VM, spec })).id;
  });

  async function attach(subject: string, { role = "operator" as "viewer" | "operator", ttlSeconds = 600 } = {}): Promise<Attached> {
    const token = await plane.issuer.issue({ subject, role, ttlSeconds });
    const channel = plane.agents.keep(createGrpcChannel(plane.replica.userAddress), (opened) => opened.close());
    const client = grpcClient(ComputeServiceDefinition, channel, { token: () => token });
    return new Attached((inputs, signal) => client.attachConsole(inputs, { signal }));
  }
  const bytes = (text: string) => Buffer.from(text);
  const session = () => [...agent.consoles.sessions.values()].find(({ view }) => view.instanceId === instanceId)!;

  test("opens the console, types, sizes, and ends with the session", async () => {
    const ann = await attach("ann");
    ann.send({ instanceId, resize: { width: 100, height: 30 }, data: bytes("first ") });
    await ann.until("first ");
    expect(session().view).toMatchObject({ openedBy: "ann", size: { width: 100, height: 30 } });
    ann.send({ resize: { width: 132, height: 50 } });
    ann.send({ data: bytes("second") });
    await ann.until("second");
    expect(session().view.size).toEqual({ width: 132, height: 50 });
    agent.consoles.end(session().view.id, ConsoleEnd.STOPPED, "It stopped.");
    expect(await ann.ended).toBeNull();
    expect(ann.outputs.map(({ offset, ended }) => [offset, ended]).at(-1)).toEqual([12, "STOPPED"]);
    expect(ann.outputs.slice(0, -1).every(({ ended, data }) => ended === "" && data.length > 0)).toBe(true);
  });

  test("who attaches again goes on typing; what was put out before comes where it is asked for", async () => {
    const before = await attach("ann");
    before.send({ instanceId, data: bytes("kept") });
    await before.until("kept");
    before.leave();
    expect(await before.ended).toMatchObject({ code: "CANCELLED" });
    const [again, fresh] = [await attach("ann"), await attach("ann")];
    again.send({ instanceId, scrollback: true });
    await again.until("kept");
    fresh.send({ instanceId });
    await until(() => agent.consoles.opened.filter((request) => request.instanceId === instanceId).length === 3);
    again.send({ data: bytes(" more") });
    await again.until("kept more");
    await fresh.until("more");
    expect([fresh.text, fresh.outputs[0]?.offset]).toEqual([" more", 4]);
    again.leave();
    fresh.leave();
  });

  test("more than one input may hold is typed in parts, in order", async () => {
    const ann = await attach("ann");
    const text = Array.from({ length: 30_000 }, (_, index) => `${index} `).join("");
    ann.send({ instanceId, data: bytes(text) });
    await until(() => ann.text.length === text.length, "all to be put out");
    expect(ann.text).toBe(text);
    expect(agent.consoles.written.every(({ data }) => data.length <= 65_536)).toBe(true);
    ann.leave();
  });

  test("one types at a time: another is refused, reads only, or takes over and so ends the first", async () => {
    const [ann, bea, cid] = [await attach("ann"), await attach("bea"), await attach("cid")];
    ann.send({ instanceId, data: bytes("ann") });
    await ann.until("ann");
    bea.send({ instanceId, data: bytes("bea") });
    expect(await bea.ended).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NotTheWriter", details: { writer: "ann" } });
    cid.send({ instanceId, readOnly: true, scrollback: true });
    await cid.until("ann");
    const taker = await attach("bea");
    taker.send({ instanceId, takeOver: true, data: bytes(" bea") });
    await cid.until("ann bea");
    ann.send({ data: bytes("lost") });
    expect(await ann.ended).toMatchObject({ reason: "NotTheWriter", details: { writer: "bea" } });
    cid.send({ data: bytes("typed") });
    expect(await cid.ended).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "read_only" } });
    taker.leave();
  });

  test("a client that closes its side still reads", async () => {
    const ann = await attach("ann");
    ann.send({ instanceId, data: bytes("last words") });
    ann.close();
    await ann.until("last words");
    agent.consoles.put(session().view.id, bytes(" and the answer"));
    await ann.until("and the answer");
    ann.leave();
  });

  test("ends with its token, and asks for rights before anything else", async () => {
    const viewer = await attach("vic", { role: "viewer" });
    viewer.send({ instanceId });
    expect(await viewer.ended).toMatchObject({ code: "FORBIDDEN", details: { requiredRole: "operator" } });
    const short = await attach("ann", { ttlSeconds: 2 });
    short.send({ instanceId, data: bytes("x") });
    await short.until("x");
    expect(await short.ended).toMatchObject({ code: "TOKEN_EXPIRED" });
  });

  test("the first message names the instance, and no later one another", async () => {
    const nameless = await attach("ann");
    nameless.send({ data: bytes("x") });
    expect(await nameless.ended).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "instance_id" } });
    const silent = await attach("ann");
    silent.close();
    expect(await silent.ended).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "instance_id" } });
    const wrongSize = await attach("ann");
    wrongSize.send({ instanceId, resize: { width: 0, height: 24 } });
    expect(await wrongSize.ended).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "resize.width" } });
    const none = await attach("ann");
    none.send({ instanceId: "inst-none" });
    expect(await none.ended).toMatchObject({ code: "NOT_FOUND", details: { field: "instance_id" } });
    const ann = await attach("ann");
    ann.send({ instanceId, data: bytes("x") });
    await ann.until("x");
    ann.send({ instanceId: "inst-other", data: bytes("y") });
    expect(await ann.ended).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "instance_id" } });
  });

  test("an agent that is lost ends it with UNAVAILABLE", async () => {
    const ann = await attach("ann");
    ann.send({ instanceId, data: bytes("x") });
    await ann.until("x");
    await agent.kill();
    expect(await ann.ended).toMatchObject({ code: "UNAVAILABLE" });
    await agent.start();
  });
});
