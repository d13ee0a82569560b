import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PendingParts } from "../../../../agent/hardware/watch/pending-parts.ts";
import { InventoryPart } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const { PCI, NETWORK, DISKS } = InventoryPart;

describe("parts that are to be read again", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("wait until it is quiet, and come together", () => {
    const pending = new PendingParts([PCI, NETWORK]);
    const { ready } = pending;
    pending.note([PCI]);
    vi.advanceTimersByTime(20);
    pending.note([NETWORK, PCI]);
    vi.advanceTimersByTime(20);
    expect([ready.aborted, pending.take()]).toEqual([false, []]);
    vi.advanceTimersByTime(10);
    expect(ready.aborted).toBe(true);
    expect(pending.take()).toEqual([PCI, NETWORK]);
    expect([pending.ready.aborted, pending.take()]).toEqual([false, []]);
  });

  it("are read although events never end", () => {
    const pending = new PendingParts([NETWORK]);
    for (let ms = 0; ms < 260; ms += 20) {
      pending.note([NETWORK]);
      vi.advanceTimersByTime(20);
    }
    expect(pending.take()).toEqual([NETWORK]);
  });

  it("wait no longer for one that can wait", () => {
    const pending = new PendingParts([PCI, NETWORK]);
    pending.note([PCI], 1000);
    vi.advanceTimersByTime(100);
    pending.note([NETWORK]);
    vi.advanceTimersByTime(50);
    expect(pending.take()).toEqual([PCI, NETWORK]);
  });

  it("are those that this lane reads", () => {
    const pending = new PendingParts([DISKS]);
    pending.note([PCI, NETWORK]);
    vi.advanceTimersByTime(1000);
    expect(pending.ready.aborted).toBe(false);
  });
});
