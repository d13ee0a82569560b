import { Writable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Role } from "../../../platform/auth/identity.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { systemContext } from "../../../platform/request-context.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ConsoleEnd } from "../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { graphqlRefusal } from "../../support/clusters-fleet.ts";
import { ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const OPEN = `mutation ($input: OpenConsoleInput!) { openConsole(input: $input) {
  writable session { id kind columns rows writer openedBy nextSequence nextOffset ended instance { id name } node { id } } } }`;
const SHELL = "mutation ($input: OpenNodeShellInput!) { openNodeShell(input: $input) { writable session { id kind instance { id } } } }";
const WRITE = "mutation ($input: WriteConsoleInput!) { writeConsole(input: $input) { nextSequence repeated } }";
const RESIZE = "mutation ($input: ResizeConsoleInput!) { resizeConsole(input: $input) { session { columns rows } } }";
const CLOSE = "mutation ($input: CloseConsoleInput!) { closeConsole(input: $input) { session { ended } } }";
const OUTPUT = `subscription ($id: ID!, $offset: Int64, $encoding: ConsoleEncoding) {
  consoleOutput(sessionId: $id, offset: $offset, encoding: $encoding) { offset nextOffset data skipped session { writer columns ended } message } }`;
const SESSION = "query ($id: ID!) { consoleSession(id: $id) { id writer viewers } }";

interface Frame {
  offset: number;
  nextOffset: number;
  data: string;
  session: { writer: string | null; columns: number; ended: string | null } | null;
  message: string | null;
}

describe("consoles", () => {
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
    const operator = await plane.client();
    made += 1;
    const spec = { image: "debian", cpuCores: 1, memoryBytes: GIB };
    instanceId = (await operator.createInstance({ name: `console-${made}`, type: InstanceType.CONTAINER, spec })).id;
  });

  const token = (subject: string, role: Role = "operator", ttlSeconds = 600) => plane.issuer.issue({ subject, role, ttlSeconds });
  const as = async (subject: string, query: string, variables: object, role: Role = "operator") =>
    plane.replica.subgraph.handler.execute({
      query,
      variables: variables as Record<string, unknown>,
      headers: { authorization: `Bearer ${await token(subject, role)}` },
    });
  // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
  const ask = async (subject: string, query: string, variables: object, role?: Role): Promise<any> => {
    const { data, errors } = await as(subject, query, variables, role);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  };
  const refused = async (subject: string, query: string, variables: object, role?: Role) =>
    graphqlRefusal(await as(subject, query, variables, role));
  const open = async (subject = "ann", more: object = {}) => (await ask(subject, OPEN, { input: { instanceId, ...more } })).openConsole;
  const write = (subject: string, input: object) => ask(subject, WRITE, { input });

  /** Follows a console as a user; `until` reads on until what was put out together ends so. */
  async function follow(id: string, variables: object = {}, { subject = "ann", role = "operator" as Role, ttlSeconds = 600 } = {}) {
    const stream = plane.replica.subgraph.handler.subscribe({
      query: OUTPUT,
      variables: { id, ...variables },
      headers: { authorization: `Bearer ${await token(subject, role, ttlSeconds)}` },
    });
    const frames: Frame[] = [];
    const next = async (): Promise<Frame | null> => {
      const { done, value } = await stream.next();
      if (done === true) return null;
      if (value.errors) throw Object.assign(new Error(JSON.stringify(value.errors)), { refusal: graphqlRefusal(value) });
      const frame = value.data?.["consoleOutput"] as Frame;
      frames.push(frame);
      return frame;
    };
    return {
      frames,
      next,
      text: () => frames.map(({ data }) => data).join(""),
      async until(end: string) {
        while (!this.text().endsWith(end)) if ((await next()) === null) throw new Error(`It ended after ${JSON.stringify(frames)}.`);
        return this.text();
      },
      refusal: async () => {
        for (;;) {
          const error = await next().then(
            (frame) => (frame === null ? new Error("It was complete.") : null),
            (failure: Error & { refusal: Record<string, unknown> }) => failure,
          );
          if (error) return (error as { refusal?: Record<string, unknown> }).refusal ?? error;
        }
      },
      stop: async () => void (await stream.return?.()),
    };
  }

  test("what one types, all who follow see; whoever comes later sees what is kept, or goes on at an offset", async () => {
    const { session, writable } = await open("ann", { columns: 100, rows: 30 });
    expect({ ...session, writable }).toEqual({
      ...{ id: expect.stringMatching(/^con-tty-node-1-/), kind: "TTY", columns: 100, rows: 30, writable: true },
      ...{ writer: "ann", openedBy: "ann", nextSequence: 1, nextOffset: 0, ended: null },
      ...{ instance: { id: instanceId, name: `console-${made}` }, node: { id: "node-1" } },
    });
    const [ann, bea] = [await follow(session.id), await follow(session.id, { encoding: "BASE64" }, { subject: "bea" })];
    expect((await ann.next())?.session).toEqual({ writer: "ann", columns: 100, ended: null });
    await bea.next();
    expect((await write("ann", { sessionId: session.id, sequence: 1, text: "grüezi\r" })).writeConsole).toEqual({
      nextSequence: 2,
      repeated: false,
    });
    await write("ann", { sessionId: session.id, sequence: 2, data: Buffer.from("🙂").subarray(0, 2).toString("base64") });
    await write("ann", { sessionId: session.id, sequence: 3, data: Buffer.from("🙂").subarray(2).toString("base64") });
    expect(await ann.until("🙂")).toBe("grüezi\r🙂");
    await until(async () => Buffer.concat(bea.frames.map(({ data }) => Buffer.from(data, "base64"))).length === 12 || !(await bea.next()));
    const late = await follow(session.id);
    expect(await late.until("🙂")).toBe("grüezi\r🙂");
    const resumed = await follow(session.id, { offset: ann.frames[1]!.nextOffset });
    expect(await resumed.until("🙂")).toBe("🙂");
    for (const viewer of [ann, bea, late, resumed]) await viewer.stop();
  });

  test("an input that is sent again is typed once, also by way of another replica; one that is missing is asked for", async () => {
    const { session } = await open();
    const input = { sessionId: session.id, sequence: 1, text: "ls\r" };
    await write("ann", input);
    await plane.start();
    expect((await write("ann", input)).writeConsole).toEqual({ nextSequence: 2, repeated: true });
    expect(await refused("ann", WRITE, { input: { ...input, sequence: 3 } })).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "InputGap",
      expected: 2,
    });
    expect((await (await follow(session.id)).until("ls\r")).length).toBe(3);
  });

  test("one types at a time, until another takes over; each terminal that a user names is one of its own", async () => {
    const { session } = await open("ann", { terminalId: "left" });
    const viewer = await follow(session.id);
    await viewer.next();
    expect(await open("bea")).toMatchObject({ writable: false, session: { id: session.id, writer: "ann" } });
    expect(await open("ann", { terminalId: "right" })).toMatchObject({ writable: false });
    const notTheWriter = { code: "FAILED_PRECONDITION", reason: "NotTheWriter", writer: "ann" };
    expect(await refused("bea", WRITE, { input: { sessionId: session.id, text: "x" } })).toMatchObject(notTheWriter);
    expect(await refused("ann", WRITE, { input: { sessionId: session.id, text: "x", terminalId: "right" } })).toMatchObject(notTheWriter);
    expect(await refused("bea", RESIZE, { input: { sessionId: session.id, columns: 10, rows: 10 } })).toMatchObject(notTheWriter);
    await write("bea", { sessionId: session.id, takeOver: true });
    expect((await viewer.next())?.session?.writer).toBe("bea");
    const resized = await ask("bea", RESIZE, { input: { sessionId: session.id, columns: 132, rows: 50 } });
    expect(resized.resizeConsole.session).toEqual({ columns: 132, rows: 50 });
    expect((await viewer.next())?.session?.columns).toBe(132);
    expect(await refused("ann", WRITE, { input: { sessionId: session.id, text: "x", terminalId: "left" } })).toMatchObject({
      writer: "bea",
    });
    expect(await open("ann", { takeOver: true, terminalId: "left" })).toMatchObject({ writable: true, session: { writer: "ann" } });
    expect(await open("cid", { readOnly: true })).toMatchObject({ writable: false });
    await viewer.stop();
  });

  test("the last frame says why it ended, and then the subscription is complete", async () => {
    const { session } = await open();
    const viewer = await follow(session.id);
    agent.consoles.put(session.id, Buffer.from("bye"));
    expect((await ask("bea", CLOSE, { input: { sessionId: session.id } })).closeConsole.session).toEqual({ ended: "CLOSED" });
    while ((await viewer.next()) !== null);
    expect(viewer.text()).toBe("bye");
    expect(viewer.frames.at(-1)).toMatchObject({ session: { ended: "CLOSED" }, message: "bea closed it.", data: "" });
  });

  test("without a place to store them, sessions are found again after a restart, and listed where they are", async () => {
    const { session } = await open();
    await plane.replica.stop();
    await plane.start();
    await write("ann", { sessionId: session.id, text: "again\r" });
    const seen = await ask("ann", SESSION, { id: session.id });
    expect(seen.consoleSession).toEqual({ id: session.id, writer: "ann", viewers: 0 });
    const { instance } = await ask("ann", "query ($id: ID!) { instance(id: $id) { consoles { id kind } } }", { id: instanceId });
    expect(instance.consoles).toEqual([{ id: session.id, kind: "TTY" }]);
  });

  test("shells are for admins alone: to open, to see, to follow, to type, to size and to close", async () => {
    expect(await refused("ann", SHELL, { input: { nodeId: "node-1" } })).toMatchObject({ code: "FORBIDDEN", requiredRole: "admin" });
    const { openNodeShell } = await ask("root", SHELL, { input: { nodeId: "node-1" } }, "admin");
    const { id } = openNodeShell.session;
    expect(openNodeShell).toMatchObject({ writable: true, session: { kind: "SHELL", instance: null } });
    const calls: Array<[string, object]> = [
      [WRITE, { input: { sessionId: id, text: "rm\r", takeOver: true } }],
      [RESIZE, { input: { sessionId: id, columns: 80, rows: 24 } }],
      [CLOSE, { input: { sessionId: id } }],
      [SESSION, { id }],
    ];
    for (const [query, variables] of calls) expect(await refused("ann", query, variables), query).toMatchObject({ code: "FORBIDDEN" });
    expect(await (await follow(id)).refusal()).toMatchObject({ code: "FORBIDDEN" });
    // Its id cannot be made to say something else.
    const forged = id.replace("con-shell-", "con-tty-");
    for (const [query, variables] of calls) {
      const altered = JSON.parse(JSON.stringify(variables).replaceAll(id, forged));
      expect(await refused("ann", query, altered), query).toMatchObject({ code: "NOT_FOUND", kind: "ConsoleSession" });
    }
    expect(await (await follow(forged)).refusal()).toMatchObject({ code: "NOT_FOUND", kind: "ConsoleSession" });
    const listed = async (subject: string, role: Role) => {
      const query = '{ _entities(representations: [{ __typename: "Node", id: "node-1" }]) { ... on Node { consoles { id } } } }';
      return JSON.stringify(await ask(subject, query, {}, role)).includes(id);
    };
    expect([await listed("ann", "operator"), await listed("root", "admin")]).toEqual([false, true]);
    await ask("root", WRITE, { input: { sessionId: id, text: "ls\r" } }, "admin");
    expect(await (await follow(id, {}, { subject: "root", role: "admin" })).until("ls\r")).toBe("ls\r");
  });

  test("viewers have no part in consoles", async () => {
    const { session } = await open();
    const calls: Array<[string, object]> = [
      [OPEN, { input: { instanceId } }],
      [WRITE, { input: { sessionId: session.id, text: "x" } }],
      [RESIZE, { input: { sessionId: session.id, columns: 80, rows: 24 } }],
      [CLOSE, { input: { sessionId: session.id } }],
      [SESSION, { id: session.id }],
      ["query ($id: ID!) { instance(id: $id) { consoles { id } } }", { id: instanceId }],
    ];
    for (const [query, variables] of calls) {
      expect(await refused("vic", query, variables, "viewer"), query).toMatchObject({ code: "FORBIDDEN", requiredRole: "operator" });
    }
    expect(await (await follow(session.id, {}, { role: "viewer" })).refusal()).toMatchObject({ code: "FORBIDDEN" });
  });

  test("what there is not, is not allowed or makes no sense is refused by name", async () => {
    const { session } = await open();
    const sessionId = session.id;
    const none = `${sessionId.slice(0, -4)}0000`;
    expect(await refused("ann", OPEN, { input: { instanceId: "inst-none" } })).toMatchObject({ code: "NOT_FOUND", field: "instanceId" });
    expect(await refused("root", SHELL, { input: { nodeId: "node-none" } }, "admin")).toMatchObject({ code: "NOT_FOUND", kind: "Node" });
    for (const id of [none, none.replace("node-1", "node-none"), "con-1", "", "x".repeat(9_999)]) {
      expect(await refused("ann", WRITE, { input: { sessionId: id, text: "x" } }), id).toMatchObject({
        code: "NOT_FOUND",
        kind: "ConsoleSession",
      });
      expect(await refused("ann", SESSION, { id }), id).toMatchObject({ code: "NOT_FOUND" });
      expect(await (await follow(id)).refusal(), id).toMatchObject({ code: "NOT_FOUND" });
    }
    const wrong: Array<[string, object, string]> = [
      [OPEN, { instanceId, columns: 80 }, "rows"],
      [OPEN, { instanceId, columns: 80, rows: 1_001 }, "rows"],
      [WRITE, { sessionId }, "data"],
      [WRITE, { sessionId, text: "a", data: "YQ==" }, "data"],
      [WRITE, { sessionId, data: "no base64" }, "data"],
      [WRITE, { sessionId, text: "x".repeat(65_537) }, "data"],
      [WRITE, { sessionId, text: "x", sequence: 0 }, "sequence"],
      [RESIZE, { sessionId, columns: 0, rows: 24 }, "columns"],
    ];
    for (const [query, input, field] of wrong) {
      expect(await refused("ann", query, { input }), JSON.stringify(input).slice(0, 80)).toMatchObject({ code: "INVALID_ARGUMENT", field });
    }
    expect(await (await follow(sessionId, { offset: -5 })).refusal()).toMatchObject({ code: "INVALID_ARGUMENT", field: "offset" });
  });

  test("a viewer whose token expires is told so, and one whose agent is lost goes on at its offset when it is back", async () => {
    const { session } = await open();
    const short = await follow(session.id, {}, { ttlSeconds: 2 });
    expect(await short.refusal()).toMatchObject({ code: "TOKEN_EXPIRED" });
    const viewer = await follow(session.id);
    await write("ann", { sessionId: session.id, text: "before " });
    await viewer.until("before ");
    await agent.kill();
    expect(await viewer.refusal()).toMatchObject({ code: "UNAVAILABLE" });
    await agent.start();
    agent.consoles.put(session.id, Buffer.from("after"));
    const again = await follow(session.id, { offset: viewer.frames.at(-1)?.nextOffset });
    expect(await again.until("after")).toBe("after");
    await again.stop();
  });

  test("who opens, takes over and closes is logged; what is typed and put out is not", async () => {
    let lines = "";
    const destination = new Writable({
      write(chunk, _encoding, done) {
        lines += String(chunk);
        done();
      },
    });
    const log = createLogger({ name: "test", level: "trace", destination });
    const identity = { kind: "user", subject: "ann", role: "operator", expiresAt: Date.now() + 60_000 } as const;
    const ctx = { ...systemContext("test", new AbortController().signal, log), identity };
    const { consoles } = plane.replica.subgraph.services;
    const { session } = await consoles.open(ctx, instanceId, {});
    await consoles.write(ctx, { sessionId: session.id, data: Buffer.from("secret words") });
    await consoles.write(ctx, { sessionId: session.id, takeOver: true });
    const frames = consoles.follow(ctx, session.id, null);
    await frames.next();
    await consoles.close(ctx, session.id);
    await frames.return();
    const logged = lines
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(logged.map(({ msg, subject, sessionId, nodeId }) => [msg, subject, sessionId, nodeId])).toEqual(
      ["a console was opened", "a console was taken over", "a console was closed"].map((msg) => [msg, "ann", session.id, "node-1"]),
    );
    expect(logged[0]).toMatchObject({ instanceId, kind: "TTY", takeOver: false });
    for (const hidden of ["secret", Buffer.from("secret words").toString("base64")]) expect(lines).not.toContain(hidden);
  });

  test("an agent that answers with another's session, or a shell for a console, is not believed", async () => {
    const { session } = await open();
    const recorded = agent.consoles.sessions.get(session.id)!;
    recorded.view = { ...recorded.view, id: session.id.replace("con-tty-", "con-shell-") };
    expect(await refused("ann", OPEN, { input: { instanceId } })).toMatchObject({ code: "INTERNAL" });
    recorded.view = { ...recorded.view, id: session.id.replace("node-1", "node-2") };
    expect(await refused("ann", OPEN, { input: { instanceId } })).toMatchObject({ code: "INTERNAL" });
    const { instance } = await ask("ann", "query ($id: ID!) { instance(id: $id) { consoles { id } } }", { id: instanceId });
    expect(instance.consoles).toEqual([]);
    agent.consoles.end(session.id, ConsoleEnd.LOST, "");
  });
});
