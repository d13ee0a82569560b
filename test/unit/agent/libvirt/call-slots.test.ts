import { expect, test } from "vitest";
import { CallSlots } from "../../../../agent/libvirt/call-slots.ts";
import type { Priority } from "../../../../agent/libvirt/protocol/procedure.ts";

const LIMITS = { inFlight: 4, reserved: 1, waiting: 5, waitingBytes: 1000 };

function slots() {
  const sent: string[] = [];
  const places = new CallSlots(LIMITS);
  const call = (name: string, priority: Priority, bytes = 1) => ({ priority, bytes, send: () => void sent.push(name) });
  return { sent, places, call };
}

test("calls of low priority leave a place for one of high priority", () => {
  const { sent, places, call } = slots();
  for (const name of ["low 1", "low 2", "low 3", "low 4"]) places.add(call(name, "low"));
  places.add(call("high", "high"));
  expect(sent).toEqual(["low 1", "low 2", "low 3", "high"]);
  places.release("low");
  expect(sent.at(-1)).toBe("low 4");
});

test("calls of high priority take every place, and go first", () => {
  const { sent, places, call } = slots();
  for (const name of ["1", "2", "3", "4"]) places.add(call(name, "high"));
  places.add(call("low", "low"));
  places.add(call("5", "high"));
  places.release("high");
  places.release("high");
  expect(sent).toEqual(["1", "2", "3", "4", "5", "low"]);
});

test("what waits keeps its order, without what was taken back", () => {
  const { sent, places, call } = slots();
  for (const name of ["1", "2", "3"]) places.add(call(name, "low"));
  const waiting = ["4", "5", "6"].map((name) => call(name, "low"));
  for (const entry of waiting) places.add(entry);
  expect(places.remove(waiting[1]!)).toBe(true);
  expect(places.remove(waiting[1]!)).toBe(false);
  for (let answers = 0; answers < 3; answers++) places.release("low");
  expect(sent).toEqual(["1", "2", "3", "4", "6"]);
});

test("one that was sent cannot be taken back", () => {
  const { places, call } = slots();
  const sent = call("1", "high");
  places.add(sent);
  expect(places.remove(sent)).toBe(false);
});

test("no more calls wait than may, in number and in size", () => {
  const { places, call } = slots();
  for (let count = 0; count < 8; count++) places.add(call(String(count), "low"));
  expect(() => places.add(call("one too many", "low"))).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED" }));

  const other = slots();
  for (let count = 0; count < 3; count++) other.places.add(other.call(String(count), "low", 5000));
  expect(() => other.places.add(other.call("too large", "low", 1001))).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED" }));
  // What was sent, or taken back, makes room again.
  for (let round = 0; round < 3; round++) {
    other.places.add(other.call("large", "low", 1000));
    other.places.release("low");
    const waiting = other.call("large", "low", 1000);
    other.places.add(waiting);
    other.places.remove(waiting);
  }
});
