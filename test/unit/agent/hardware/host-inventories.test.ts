import { describe, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { HostInventories } from "../../../../agent/hardware/host-inventories.ts";
import type { PartReader, PartReading } from "../../../../agent/hardware/parts.ts";
import { PendingParts } from "../../../../agent/hardware/watch/pending-parts.ts";
import { type HostChannel, HostReadError } from "../../../../agent/host/host-channel.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { InventoryPart } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { until } from "../../../support/until.ts";

const { PCI, NETWORK } = InventoryPart;

/** A machine to which the way may be gone. */
class LostHost extends LocalHost {
  isLost = false;

  override async snapshot(): Promise<HostChannel> {
    if (this.isLost) throw new HostReadError("HOST_UNREACHABLE", "host", "The host cannot be reached.");
    return this;
  }
}

function lane(host: HostChannel, parts: InventoryPart[]) {
  const signal = new AbortController().signal;
  const read: InventoryPart[] = [];
  let asked = 0;
  let failing: InventoryPart | null = null;
  const readers = parts.map((part): PartReader => {
    const needs = { paths: [], commands: [] };
    return {
      ...{ part, needs, everyMs: 60_000, isSlow: false, asksUsers: true },
      async read(_host, { users }): Promise<PartReading> {
        await users();
        if (part === failing) throw new TypeError("a fault of the reader");
        read.push(part);
        return { part, content: {}, digest: `${read.length}`, observedAt: new Date() };
      },
    };
  });
  const pending = new PendingParts(parts);
  const sources = () => ({
    users: async () => {
      asked += 1;
      return NO_USERS;
    },
    libvirt: async () => null,
  });
  const log = createLogger({ name: "test", level: "silent" });
  const inventories = new HostInventories({ host, readers, pending, sources, log });
  return {
    ...{ inventories, pending, read },
    readDue: () => inventories.readDue(signal),
    asked: () => asked,
    failAt: (part: InventoryPart | null) => {
      failing = part;
    },
  };
}

describe("the parts of a host's inventory", () => {
  it("are all read first, then those that events concern", async () => {
    const { inventories, pending, read, readDue, asked } = lane(new LostHost(), [PCI, NETWORK]);
    await readDue();
    await readDue();
    expect(read).toEqual([PCI, NETWORK]);
    // Who has what is asked for once for both.
    expect(asked()).toBe(1);
    expect(inventories.nextAt - performance.now()).toBeGreaterThan(50_000);
    pending.note([NETWORK], 1);
    await until(() => inventories.ready.aborted);
    await readDue();
    expect(read).toEqual([PCI, NETWORK, NETWORK]);
    expect(inventories.current.map(({ part, digest }) => [part, digest])).toEqual([
      [PCI, "1"],
      [NETWORK, "3"],
    ]);
  });

  it("are read at once a few times, and with rests in a storm of events", async () => {
    class SlowHost extends LocalHost {
      override async snapshot(): Promise<HostChannel> {
        await new Promise((resolve) => setTimeout(resolve, 100));
        return this;
      }
    }
    const { inventories, pending, readDue } = lane(new SlowHost(), [NETWORK]);
    await readDue();
    for (let reading = 1; reading <= 5; reading += 1) {
      pending.note([NETWORK], 1);
      await until(() => inventories.ready.aborted);
      await readDue();
    }
    pending.note([NETWORK], 1);
    await until(() => pending.ready.aborted);
    expect(inventories.ready.aborted).toBe(false);
    const restMs = inventories.nextAt - performance.now();
    expect(restMs).toBeGreaterThan(0);
    expect(restMs).toBeLessThan(5000);
  });

  it("stay as they were read while the host cannot be reached", async () => {
    const host = new LostHost();
    const { inventories, pending, readDue } = lane(host, [PCI]);
    await readDue();
    host.isLost = true;
    pending.note([PCI], 1);
    await until(() => inventories.ready.aborted);
    await readDue();
    expect(inventories.current.map(({ digest }) => digest)).toEqual(["1"]);
    // It is tried again before its turn.
    expect(inventories.nextAt - performance.now()).toBeLessThan(30_000);
  });

  it("do not fail together", async () => {
    const { inventories, readDue, failAt } = lane(new LostHost(), [PCI, NETWORK]);
    failAt(PCI);
    await readDue();
    expect(inventories.current.map(({ part }) => part)).toEqual([NETWORK]);
  });
});
