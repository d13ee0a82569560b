import { afterAll, beforeAll, expect, test } from "vitest";
import { ControlPlaneConnection } from "../../../agent/control-plane/connection.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { agentKeyPair, temporaryCa } from "../../support/certificates.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
let connection: ControlPlaneConnection;

beforeAll(async () => {
  home = await temporaryCa();
  connection = new ControlPlaneConnection("127.0.0.1:9", home.ca.certificatePem, await agentKeyPair(home.ca, "a1"));
});
afterAll(async () => {
  connection.close();
  await home.remove();
});

test("a connection that is slow is kept, until the third call on it got no answer", () => {
  const link = connection.main;
  const silence = new FleetError("DEADLINE_EXCEEDED", "late");
  connection.failed(link, silence);
  connection.failed(link, silence);
  expect(connection.main).toBe(link);
  connection.failed(link, silence);
  expect(connection.main).not.toBe(link);
});

test("a connection that broke, or whose certificate was refused, is replaced at once; what the server answers does not count", () => {
  for (const code of ["UNAVAILABLE", "DRAINING", "UNAUTHENTICATED"] as const) {
    const link = connection.main;
    connection.failed(link, new FleetError(code, "gone"));
    expect(connection.main).not.toBe(link);
  }
  const link = connection.main;
  for (let calls = 0; calls < 5; calls++) connection.failed(link, new FleetError("FAILED_PRECONDITION", "no"));
  expect(connection.main).toBe(link);
});

test("a late failure of a connection that is gone does not harm its successor", () => {
  const old = connection.main;
  connection.failed(old, new FleetError("UNAVAILABLE", "gone"));
  const next = connection.main;
  connection.failed(old, new FleetError("UNAVAILABLE", "gone"));
  expect(connection.main).toBe(next);
});
