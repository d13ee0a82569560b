import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createLogger } from "../../../platform/observability/log.ts";
import { prettyLine } from "../../../platform/observability/log-pretty.ts";

function collecting() {
  const lines: string[] = [];
  const destination = new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      lines.push(line);
      done();
    },
  });
  const log = createLogger({ name: "test", level: "info", destination });
  return { log, last: () => JSON.parse(String(lines.at(-1))) as Record<string, unknown>, lines };
}

describe("log", () => {
  it("writes one JSON object per line with name, level, time and the request id", () => {
    const { log, last } = collecting();
    log.child({ requestId: "r1" }).info({ nodes: 3 }, "served");
    expect(last()).toMatchObject({
      name: "test",
      level: "info",
      msg: "served",
      requestId: "r1",
      nodes: 3,
      time: expect.stringMatching(/Z$/),
    });
  });

  it("shows no secret, at any depth, under any usual name, in bindings or in running text", () => {
    const { log, lines } = collecting();
    log.child({ joinToken: "s3cret" }).info({
      headers: { authorization: "Bearer s3cret", cookie: "s3cret", accept: "json" },
      list: [{ password: "s3cret" }, { kubeconfig: { user: "s3cret" } }],
      deep: { a: { b: { c: { clientSecret: "s3cret" } } } },
      url: "postgresql://user:s3cret@db/fleet",
      text: "sent Bearer s3cret and fgj_s3cret and eyJhbGciOi.eyJzdWIi.s3cret",
    });
    log.error({ err: new Error("refused fgj_s3cret") }, "with Bearer s3cret");
    expect(lines.join("")).not.toContain("s3cret");
    expect(lines.join("")).toContain('"accept":"json"');
  });

  it("leaves the caller's objects as they are", () => {
    const { log } = collecting();
    const request = { token: "keep" };
    log.info({ request });
    expect(request.token).toBe("keep");
  });

  it("keeps an error's stack", () => {
    const { log, last } = collecting();
    log.error({ err: new Error("boom") }, "failed");
    expect(last()).toMatchObject({ err: { message: "boom", stack: expect.stringContaining("log.test.ts") } });
  });

  it("has a form for a person", () => {
    const { log, lines } = collecting();
    log.warn({ port: 4000 }, "late");
    expect(prettyLine(String(lines[0]), false)).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}test: late port=4000\n$/);
  });
});
