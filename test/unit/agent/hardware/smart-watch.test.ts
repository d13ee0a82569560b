import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SmartWatch } from "../../../../agent/hardware/watch/smart-watch.ts";
import { type ExecResult, type HostCommand, HostReadError } from "../../../../agent/host/host-channel.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { Disk } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { until } from "../../../support/until.ts";

/** Notes which disks are asked; none answers. */
class AskedHost extends LocalHost {
  asked: string[] = [];

  override async exec({ program, args }: HostCommand): Promise<ExecResult> {
    this.asked.push(args.at(-1) ?? "");
    throw new HostReadError("TIMEOUT", program, `${program} did not end in time.`);
  }
}

describe("the health of disks", () => {
  const log = createLogger({ name: "test", level: "silent" });
  const disk = (name: string, serial: string | undefined, transport = "nvme") => Disk.fromPartial({ name, serial, transport });
  let host: AskedHost;
  let stopping: AbortController;
  let read: number;
  let running: Promise<void>;

  beforeEach(() => {
    host = new AskedHost();
    stopping = new AbortController();
    read = 0;
  });

  afterEach(async () => {
    stopping.abort();
    await running;
  });

  function watch(intervalMs: number): SmartWatch {
    const smart = new SmartWatch({ host, intervalMs, onRead: () => (read += 1), log });
    running = smart.run(stopping.signal);
    return smart;
  }

  it("is asked at once of a disk that comes, or takes another's place, and of no other", async () => {
    const smart = watch(3_600_000);
    smart.know([disk("nvme0n1", "A"), disk("sda", undefined, "sata"), disk("vda", "V", "virtio")]);
    await until(() => read === 1);
    expect(host.asked.sort()).toEqual(["/dev/nvme0n1", "/dev/sda"]);
    expect([...smart.readings.keys()].sort()).toEqual(["nvme0n1", "sda", "vda"]);
    host.asked = [];
    smart.know([disk("nvme0n1", "B"), disk("sda", undefined, "sata"), disk("vda", "V", "virtio")]);
    await until(() => read === 2);
    smart.know([disk("nvme0n1", "B"), disk("vda", "V", "virtio"), disk("sdb", "C", "sata")]);
    await until(() => read === 3);
    await delay(50);
    expect(host.asked).toEqual(["/dev/nvme0n1", "/dev/sdb"]);
    expect([...smart.readings.keys()].sort()).toEqual(["nvme0n1", "sdb", "vda"]);
  });

  it("is asked of all at the interval", async () => {
    const smart = watch(100);
    smart.know([disk("sda", "A", "sata"), disk("sdb", "B", "sata")]);
    await until(() => read >= 3);
    expect(host.asked.slice(0, 6).sort()).toEqual([1, 2, 3].map(() => "/dev/sda").concat([1, 2, 3].map(() => "/dev/sdb")));
  });
});
