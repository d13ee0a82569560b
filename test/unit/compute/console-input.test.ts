import { describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import {
  checkInput,
  checkSize,
  inputBytes,
  MAX_INPUT_BYTES,
  writerKey,
} from "../../../subgraphs/compute/services/consoles/console-input.ts";

const user = (subject: string) => ({ kind: "user", subject, role: "operator", expiresAt: 0 }) as const;

function refusedField(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return FleetError.from(error).details["field"];
  }
  return "nothing refused";
}

describe("what is given to consoles", () => {
  test("a size has both its sides, within bounds", () => {
    expect(checkSize({})).toBeUndefined();
    expect(checkSize({ columns: null, rows: null })).toBeUndefined();
    expect(checkSize({ columns: 132, rows: 50 })).toEqual({ width: 132, height: 50 });
    expect(refusedField(() => checkSize({ columns: 80 }))).toBe("rows");
    expect(refusedField(() => checkSize({ rows: 24 }))).toBe("columns");
    for (const columns of [0, -1, 1.5, 1_001]) expect(refusedField(() => checkSize({ columns, rows: 24 }))).toBe("columns");
    expect(refusedField(() => checkSize({ columns: 80, rows: 0 }))).toBe("rows");
  });

  test("input is text or base64, and not both", () => {
    expect(inputBytes("ä\u0003", null)?.toString("hex")).toBe("c3a403");
    expect(inputBytes(null, "/+8=")?.toString("hex")).toBe("ffef");
    expect(inputBytes(undefined, undefined)).toBeNull();
    expect(refusedField(() => inputBytes("a", "YQ=="))).toBe("data");
    for (const data of ["YQ", "YQ=", "Y Q==", "_-8=", "a"])
      expect(
        refusedField(() => inputBytes(null, data)),
        data,
      ).toBe("data");
    expect(refusedField(() => inputBytes("\ud800", null))).toBe("text");
  });

  test("input is bounded, and empty only to take over", () => {
    expect(checkInput(Buffer.alloc(MAX_INPUT_BYTES), false)).toHaveLength(MAX_INPUT_BYTES);
    expect(refusedField(() => checkInput(Buffer.alloc(MAX_INPUT_BYTES + 1), false))).toBe("data");
    expect(refusedField(() => checkInput(null, false))).toBe("data");
    expect(checkInput(null, true)).toHaveLength(0);
  });

  test("a user is one writer, whatever the token; each terminal that it names is another", () => {
    const key = writerKey(user("ann"), null);
    expect(writerKey({ ...user("ann"), role: "admin", expiresAt: 9 }, undefined)).toBe(key);
    const keys = new Set([key, writerKey(user("bea"), null), writerKey(user("ann"), "tab-1"), writerKey(user("ann"), "tab-2")]);
    expect(keys.size).toBe(4);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(refusedField(() => writerKey(user("ann"), "x".repeat(129)))).toBe("terminalId");
  });
});
