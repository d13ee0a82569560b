import { describe, expect, it } from "vitest";
import { HostDrivers } from "../../../../agent/instances/host-drivers.ts";
import { InstanceSampler } from "../../../../agent/instances/sampler.ts";
import { MemoryDriver, MemoryHost } from "../../../support/memory-driver.ts";

const ending = new AbortController();

function open(cores: number[]) {
  const host = new MemoryHost();
  const driver = new MemoryDriver(host);
  const natives = cores.map((cpuCores) => host.add({ state: "RUNNING", cpuCores }));
  const all = new Map(natives.map((native, index) => [`inst-${index}`, native]));
  const running = (ids: readonly string[]) => new Map([...all].filter(([id]) => ids.length === 0 || ids.includes(id)));
  const sampler = new InstanceSampler({ drivers: new HostDrivers([driver]), running, signal: ending.signal });
  return { sampler, driver, host, natives };
}

describe("a sampler", () => {
  it("says how much of its own cores an instance uses, by two readings, and by one where it has read it before", async () => {
    const { sampler, driver } = open([1, 4]);
    const [one, four] = await sampler.sample([]);
    // In this host's guests one core is always busy.
    expect(one?.cpuUsagePercent).toBeGreaterThan(80);
    expect(four?.cpuUsagePercent).toBeGreaterThan(20);
    expect(four?.cpuUsagePercent).toBeLessThan(30);
    expect(one?.memoryUsageBytes).toBe(1024);
    expect(driver.calls).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect((await sampler.sample(["inst-0"]))[0]?.cpuUsagePercent).toBeGreaterThan(80);
    expect(driver.calls).toHaveLength(3);
  });

  it("reads once for all who ask at the same time", async () => {
    const { sampler, driver } = open([1, 1, 1]);
    const all = await Promise.all([
      sampler.sample([]),
      ...Array.from({ length: 50 }, () => sampler.sample(["inst-1"])),
      sampler.sample(["inst-0", "inst-2"]),
    ]);
    expect(all.map(({ length }) => length)).toEqual([3, ...Array.from({ length: 50 }, () => 1), 2]);
    expect(driver.calls).toHaveLength(2);
  });

  it("lets those who ask for others meanwhile share the next reading", async () => {
    const { sampler, driver } = open([1, 1]);
    await Promise.all([sampler.sample(["inst-0"]), ...Array.from({ length: 20 }, (_, index) => sampler.sample([`inst-${index % 2}`]))]);
    expect(driver.calls.length).toBeLessThanOrEqual(4);
  });

  it("leaves out what a driver that is away has", async () => {
    const { sampler, driver } = open([1]);
    driver.available = false;
    expect(await sampler.sample([])).toEqual([]);
  });
});
