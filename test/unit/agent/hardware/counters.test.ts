import { expect, it } from "vitest";
import { readCounters, withRates } from "../../../../agent/hardware/network/counters.ts";
import { hostOf, openRichGuestCapture } from "../../../support/captured-devices.ts";

const HEAD = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`;

it("reads a captured host's counters", async () => {
  const { interfaces, unavailable } = await readCounters(await openRichGuestCapture());
  expect(unavailable).toEqual([]);
  expect(interfaces.map(({ name }) => name)).toContain("bond0.20");
  expect(interfaces.find(({ name }) => name === "enp0s4")).toMatchObject({ rxErrors: 0, txDropped: 0 });
});

it("takes each number from its place, also where a long one touches the name", async () => {
  const [first, second] = (
    await reading("  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1: 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
  ).interfaces;
  expect(first).toEqual({
    ...{ name: "eth0", rxBytes: 1, rxPackets: 2, rxErrors: 3, rxDropped: 4 },
    ...{ txBytes: 9, txPackets: 10, txErrors: 11, txDropped: 12 },
  });
  expect(second).toMatchObject({ name: "eth0:1", rxBytes: Number.MAX_SAFE_INTEGER });
});

it("says why there are none", async () => {
  expect(await readCounters(hostOf({}))).toMatchObject({ interfaces: [], unavailable: [{ field: "interfaces", reason: "NOT_PRESENT" }] });
  expect(await reading("  eth0: 1 2 many\n")).toMatchObject({
    interfaces: [],
    unavailable: [{ field: "interfaces", reason: "MALFORMED" }],
  });
});

it("gives rates from two readings, but none for what is new or began anew", async () => {
  const earlier = { ...(await reading(`${line("eth0", 1000, 10, 500, 5)}${line("eth1", 9000, 9, 0, 0)}`)), observedAt: new Date(1000) };
  const later = {
    ...(await reading(`${line("eth0", 3000, 14, 500, 5)}${line("eth1", 10, 1, 0, 0)}${line("eth2", 1, 1, 1, 1)}`)),
    observedAt: new Date(3000),
  };
  const [eth0, eth1, eth2] = withRates(later, earlier).interfaces;
  expect(eth0).toMatchObject({ rxBytes: 3000, rxBytesPerSecond: 1000, rxPacketsPerSecond: 2, txBytesPerSecond: 0, txPacketsPerSecond: 0 });
  expect(eth1?.rxBytesPerSecond).toBeUndefined();
  expect(eth2?.rxBytesPerSecond).toBeUndefined();
  expect(withRates(later, later).interfaces[0]?.rxBytesPerSecond).toBeUndefined();
});

function reading(lines: string) {
  return readCounters(hostOf({ "/proc/net/dev": HEAD + lines }));
}

function line(name: string, rxBytes: number, rxPackets: number, txBytes: number, txPackets: number): string {
  return `${name}: ${rxBytes} ${rxPackets} 0 0 0 0 0 0 ${txBytes} ${txPackets} 0 0 0 0 0 0\n`;
}
