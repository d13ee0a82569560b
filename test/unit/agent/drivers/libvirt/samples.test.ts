import { expect, test } from "vitest";
import { sampleOf } from "../../../../../agent/drivers/libvirt/samples.ts";

const dom = { name: "guest", uuid: "u", id: 1 };
const RUNNING = { "state.state": 1, "cpu.time": 5e9, "vcpu.current": 2, "balloon.rss": 300_000, "block.count": 2, "net.count": 1 };

test("disks and interfaces are counted together", () => {
  const params = {
    ...RUNNING,
    "block.0.rd.bytes": 1,
    "block.1.rd.bytes": 2,
    "block.1.wr.bytes": 4,
    "net.0.rx.bytes": 8,
    "net.0.tx.bytes": 16,
  };
  expect(sampleOf({ dom, params })).toEqual({
    nativeId: "u",
    cpuTimeNs: 5e9,
    cpuCores: 2,
    memoryUsageBytes: 300_000 * 1024,
    memoryCacheBytes: null,
    diskReadBytes: 3,
    diskWriteBytes: 4,
    networkRxBytes: 8,
    networkTxBytes: 16,
  });
});

test("memory is the guest's own count where its balloon tells, otherwise the host's", () => {
  const told = { ...RUNNING, "balloon.available": 1000, "balloon.unused": 600, "balloon.disk_caches": 100 };
  expect(sampleOf({ dom, params: told })).toMatchObject({ memoryUsageBytes: 400 * 1024, memoryCacheBytes: 100 * 1024 });
  const { "balloon.rss": _, ...without } = RUNNING;
  expect(sampleOf({ dom, params: without })).toMatchObject({ memoryUsageBytes: null });
});

test("domains that do not run or were too busy to answer have no sample", () => {
  expect(sampleOf({ dom, params: { ...RUNNING, "state.state": 5 } })).toBe(null);
  const { "block.count": _, ...busy } = RUNNING;
  expect(sampleOf({ dom, params: busy })).toBe(null);
});
