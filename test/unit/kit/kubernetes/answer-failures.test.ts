import { describe, expect, it } from "vitest";
import { answerFailure } from "../../../../subgraphs/kit/kubernetes/answer-failures.ts";
import { loginFailure } from "../../../../subgraphs/kit/kubernetes/login-failures.ts";

const NOW = new Date("2026-03-01T00:00:00Z");

function said(code: number, reason: string, message: string) {
  return { kind: "Status", code, reason, message };
}

describe("an answer that is an error", () => {
  it.each([
    [400, "INVALID_ARGUMENT", "REQUEST", "Invalid"],
    [403, "FAILED_PRECONDITION", "AUTHORIZATION", "Forbidden"],
    [404, "NOT_FOUND", "REQUEST", "NotFound"],
    [405, "INVALID_ARGUMENT", "REQUEST", "Invalid"],
    [409, "CONFLICT", "REQUEST", "Conflict"],
    [410, "CURSOR_EXPIRED", "REQUEST", "Gone"],
    [422, "INVALID_ARGUMENT", "REQUEST", "Invalid"],
    [429, "UNAVAILABLE", "REQUEST", "TooManyRequests"],
    [500, "UNAVAILABLE", "REQUEST", "ServerError"],
    [504, "UNAVAILABLE", "REQUEST", "ServerError"],
  ])("%i is %s", (status, code, step, reason) => {
    const failure = answerFailure(status, said(status, "Reason", "the API's words"));
    expect(failure).toMatchObject({ code, step, reason, status, isGone: status === 410, details: { step } });
  });

  it.each([
    [403, "NotKubernetes"],
    [404, "NotKubernetes"],
    [302, "NotKubernetes"],
    [502, "ServerError"],
    [503, "ServerError"],
    [429, "TooManyRequests"],
  ])("%i in other words than the API's is %s", (status, reason) => {
    for (const body of [undefined, null, "x", [], { error: "x" }]) {
      expect(answerFailure(status, body)).toMatchObject({ code: "UNAVAILABLE", reason, status });
    }
  });

  it("tells a client's mistake in the API's words, in bounds and in one line", () => {
    const { message } = answerFailure(422, said(422, "Invalid", `bad\n\u001b[31m${"x".repeat(5_000)}`));
    expect(message).toMatch(/^The API server refused the request: bad \[31mx+…$/);
    expect(message.length).toBeLessThan(600);
    expect(answerFailure(422, { kind: "Status", message: { odd: true } }).message).toMatch(/status 422/);
  });

  it("keeps a server's own words to itself: they name its insides", () => {
    const failure = answerFailure(500, said(500, "InternalError", "dial tcp 10.1.2.3:2379: connect: connection refused"));
    expect(failure.message).toBe("The API server failed (500, InternalError).");
  });

  it.each([
    ["5", 5],
    ["999999", 3_600],
    ["Wed, 21 Oct 2026 07:28:00 GMT", undefined],
    ["-1", undefined],
    [undefined, undefined],
  ])("is to be asked again after %s", (header, seconds) => {
    expect(answerFailure(503, undefined, header).details["retryAfterSeconds"]).toBe(seconds);
  });
});

describe("a login that is refused", () => {
  function tokenUntil(exp: unknown): string {
    return `e30.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.c2ln`;
  }

  it.each([
    [tokenUntil(Date.parse("2026-02-01T00:00:00Z") / 1000), /token expired at 2026-02-01T00:00:00.000Z \(401\)/],
    [tokenUntil(Date.parse("2026-04-01T00:00:00Z") / 1000), /does not accept the kubeconfig's token/],
    [tokenUntil("soon"), /does not accept the kubeconfig's token/],
    [tokenUntil(1e300), /does not accept the kubeconfig's token/],
    ["opaque", /does not accept the kubeconfig's token/],
    ["a.bnVsbA.c", /does not accept the kubeconfig's token/],
  ])("token %#", (token, words) => {
    const failure = loginFailure({ kind: "TOKEN", token }, NOW);
    expect(failure).toMatchObject({ code: "UNAVAILABLE", step: "AUTHENTICATION", reason: "Unauthorized", status: 401 });
    expect(failure.message).toMatch(words);
    expect(failure.message).not.toContain(token);
  });

  it("with a password, or with nothing", () => {
    const failure = loginFailure({ kind: "BASIC", username: "someone", password: "pass" }, NOW);
    expect(failure.message).toBe("The API server does not accept the kubeconfig's user name and password (401).");
    expect(loginFailure({ kind: "NONE" }, NOW).message).toMatch(/wants a login/);
  });
});
