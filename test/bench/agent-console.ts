import type { InstanceDriver, InstancePlan } from "../../agent/drivers/instance-driver.ts";
import { openShell } from "../../agent/terminal/shell.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ConsoleKind, type ConsoleSession } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { ContainerHost } from "../support/container-host.ts";
import { containerPlan } from "../support/container-plan.ts";
import { DriverHost, soon } from "../support/driver-host.ts";
import { instancePlan, MIB } from "../support/instance-plans.ts";
import { ServedConsoles } from "../support/served-consoles.ts";
import { percentile } from "../support/statistics.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

/**
 * How long a typed byte takes until its echo is back, between an agent's gRPC and a terminal that echoes; each byte is typed when the echo of the
 * last one is there. As root: `node --experimental-transform-types test/bench/agent-console.ts`.
 */
const BYTES = 500;
const WARM_UP = 50;
/** A terminal takes lines of 4096 bytes. */
const LINE = 100;
const KERNEL = {
  kernel: "tiny-kernel",
  initrd: "tiny-initrd",
  kernelArgs: GUEST_COMMAND_LINE,
  network: { networkId: "none" },
  memoryBytes: 96 * MIB,
};

await using guests = await DriverHost.start(76);
await using containers = await ContainerHost.start(85);
const drivers: InstanceDriver[] = [guests.driver, await containers.driver()];
await using served = await ServedConsoles.start(() => drivers, { openShell });

await measure("VM", await instance(0, instancePlan(KERNEL, { instanceId: "inst-0000000000000001", type: InstanceType.VM })), "guest# ");
await measure(
  "microVM",
  await instance(0, instancePlan(KERNEL, { instanceId: "inst-0000000000000002", type: InstanceType.MICROVM })),
  "guest# ",
);
await measure("container", await instance(1, containerPlan({ command: ["/bin/sh"] }, { instanceId: "inst-0000000000000003" })), "");
await measure("shell", await served.open({ kind: ConsoleKind.SHELL }), "");

async function instance(driver: number, plan: InstancePlan): Promise<ConsoleSession> {
  await drivers[driver]!.create(plan, () => undefined, soon());
  await drivers[driver]!.start(plan, soon());
  return await served.open({ instanceId: plan.instanceId });
}

async function measure(name: string, session: ConsoleSession, prompt: string): Promise<void> {
  const viewer = served.watch(session);
  await viewer.seen(prompt);
  await served.type(session, "echo go$((1+1)); cat >/dev/null\r");
  await viewer.seen("go2\r\n");
  const took: number[] = [];
  for (let count = 0; count < BYTES; count++) {
    if (count % LINE === 0) {
      const from = viewer.length;
      await served.type(session, "\r");
      await viewer.seen("\n", from);
    }
    const from = viewer.length;
    const echo = viewer.longerThan(from);
    const began = performance.now();
    await Promise.all([served.type(session, "x"), echo]);
    took.push(performance.now() - began);
  }
  const measured = took.slice(WARM_UP);
  const ms = (share: number) => `${percentile(measured, share).toFixed(2)} ms`;
  process.stdout.write(`${name}: p50 ${ms(0.5)}, p99 ${ms(0.99)}\n`);
}
