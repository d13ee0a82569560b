import { randomBytes } from "node:crypto";

/** A new, opaque id with its type's prefix: 80 random bits, lower-case letters and digits. */
export function newId(
  prefix: "node" | "agent" | "cmd" | "join" | "inst" | "task" | "pull" | "snap" | "con" | "host" | "op" | "k8s",
): string {
  const bits = BigInt(`0x${randomBytes(10).toString("hex")}`);
  return `${prefix}-${bits.toString(36).padStart(16, "0")}`;
}
