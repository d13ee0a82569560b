import { describe, expect, test, vi } from "vitest";
import { Admission } from "../../../gateway/transport/admission.ts";

const never = new AbortController().signal;

describe("Admission to a subgraph", () => {
  test("lets so many in, so many wait in their order, and refuses the rest", async () => {
    const admission = new Admission("it", 2, 2);
    const order: number[] = [];
    const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    const runs = gates.map(({ promise }, index) =>
      admission.run(never, async () => {
        order.push(index);
        await promise;
      }),
    );
    await expect(admission.run(never, async () => undefined)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(order).toEqual([0, 1]);
    gates[1]?.resolve();
    await runs[1];
    await vi.waitFor(() => expect(order).toEqual([0, 1, 2]));
    for (const { resolve } of gates) resolve();
    await Promise.all(runs);
    expect([order, admission.inside]).toEqual([[0, 1, 2, 3], 0]);
  });

  test("gives up waiting with the signal, also when its turn comes at that moment, and loses no place", async () => {
    const admission = new Admission("it", 1, 5);
    const gate = Promise.withResolvers<void>();
    const first = admission.run(never, () => gate.promise);
    const leaving = new AbortController();
    const waiting = admission.run(leaving.signal, async () => "never");
    const last = admission.run(never, async () => "done");
    gate.resolve();
    leaving.abort(new Error("left"));
    await expect(waiting).rejects.toThrow("left");
    await first;
    expect(await last).toBe("done");
    expect(admission.inside).toBe(0);
  });

  test("frees the place of work that fails", async () => {
    const admission = new Admission("it", 1, 0);
    await expect(admission.run(never, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await admission.run(never, async () => 1)).toBe(1);
  });
});
