import { ComputeFleet } from "../support/compute-fleet.ts";
import { atConsole, CONSOLE_TYPES } from "../support/console-instances.ts";
import type { ConsoleViewer } from "../support/console-viewer.ts";
import { percentile } from "../support/statistics.ts";

/**
 * From a key to its echo: `node test/bench/console-round-trip.ts [300]`, as root, after `npm run build`. The clock runs from before
 * writeConsole until consoleOutput brings what the shell's line editor made of the key, both on one WebSocket to the gateway (gateway,
 * compute, mTLS, agent, libvirt or the container engine, and the guest in between; two processes on one machine, guests under emulation).
 */
const KEYS = Number(process.argv[2] ?? 300);
/** Below the line's width, then it is wiped. */
const LINE = 40;
const WIPE = "\u0015";

await using fleet = await ComputeFleet.start({ hosts: [{}] });
for (const type of CONSOLE_TYPES) {
  const { viewer } = await atConsole(fleet, type);
  await quiet(viewer);
  const took: number[] = [];
  for (let key = 0; key < KEYS; key += 1) {
    if (key % LINE === LINE - 1) {
      await viewer.type(WIPE);
      await quiet(viewer);
    }
    const began = performance.now();
    await Promise.all([viewer.type("x"), viewer.changed(({ data }) => data.includes("x"))]);
    took.push(performance.now() - began);
  }
  await viewer.close();
  const [p50, p99, max] = [percentile(took, 0.5), percentile(took, 0.99), Math.max(...took)].map((ms) => `${ms.toFixed(1)} ms`);
  process.stdout.write(`${type}: ${KEYS} keys, p50 ${p50}, p99 ${p99}, max ${max}\n`);
}

/** Until nothing has come for a while: an earlier key's echo must not be taken for the next one's. */
async function quiet(viewer: ConsoleViewer): Promise<void> {
  for (let seen = -1; seen !== viewer.nextOffset; ) {
    seen = viewer.nextOffset;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
