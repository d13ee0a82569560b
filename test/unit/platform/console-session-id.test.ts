import { expect, test } from "vitest";
import { newConsoleSessionId, readConsoleSessionId } from "../../../platform/console-session-id.ts";

test("an id of a console session tells its kind and node, and is never the same twice", () => {
  for (const kind of ["serial", "tty", "shell"] as const) {
    for (const nodeId of ["node-1", "node-0a1b2c3d4e5f6g7h", "a-shell-node-00000000000000000000000000000000"]) {
      const id = newConsoleSessionId(kind, nodeId);
      expect(readConsoleSessionId(id)).toEqual({ kind, nodeId });
      expect(newConsoleSessionId(kind, nodeId)).not.toBe(id);
    }
  }
});

test.each([
  "",
  "con-",
  "con-tty-node-1",
  "con-vnc-node-1-00000000000000000000000000000000",
  "inst-1",
  "con-tty--00000000000000000000000000000000",
])("%j is none", (id) => {
  expect(readConsoleSessionId(id)).toBeNull();
});
