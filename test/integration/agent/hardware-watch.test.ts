import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LINK_MONITOR, watchHardware } from "../../../agent/hardware/watch/hardware-watch.ts";
import { UEVENT_MONITOR } from "../../../agent/hardware/watch/uevents.ts";
import { type FollowedCommand, type HostCommand, HostReadError } from "../../../agent/host/host-channel.ts";
import { LocalHost } from "../../../agent/host/local.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { NetworkNamespace } from "../../support/network-namespace.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

const run = promisify(execFile);

/** The machine as a network namespace sees it, with one of the two monitors. */
class NamespaceHost extends LocalHost {
  constructor(
    readonly namespace: NetworkNamespace,
    readonly monitor: HostCommand,
  ) {
    super();
  }

  override async follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    if (command !== this.monitor) throw new HostReadError("NOT_INSTALLED", command.program, "Left out.");
    const [program = "", ...args] = [...this.namespace.prefix, command.program, ...command.args];
    return await super.follow({ program, args }, signal);
  }
}

describeWithPeers("the kernel's events on a host", ["network-namespaces", "udevadm"], () => {
  const log = createLogger({ name: "test", level: "silent" });
  let namespace: NetworkNamespace;
  let stopping: AbortController;
  let told: InventoryPart[];
  let ended: Promise<void>;

  beforeEach(async () => {
    namespace = await NetworkNamespace.create(92);
    stopping = new AbortController();
    told = [];
  });

  afterEach(async () => {
    stopping.abort();
    await ended;
    await namespace.remove();
  });

  async function watch(monitor: HostCommand): Promise<void> {
    const host = new NamespaceHost(namespace, monitor);
    const backoff = { firstMs: 50, longestMs: 100 };
    ended = watchHardware({ host, onConcerned: (parts) => told.push(...parts), log, backoff }, stopping.signal);
    // What may have been missed before is read anew when it listens.
    await until(() => told.includes(InventoryPart.NETWORK), `${monitor.program} to listen`);
    await delay(500);
    told = [];
  }

  it.each([UEVENT_MONITOR, LINK_MONITOR])("tell of an interface that comes: $program", async (monitor) => {
    await watch(monitor);
    await run("ip", ["-n", namespace.name, "link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b"]);
    await until(() => told.includes(InventoryPart.NETWORK), "the event");
    expect(new Set(told)).toEqual(new Set([InventoryPart.NETWORK]));
  });

  it("are followed again after the program was killed", async () => {
    await watch(UEVENT_MONITOR);
    const { stdout } = await run("ip", ["netns", "pids", namespace.name]);
    for (const pid of stdout.trim().split("\n")) process.kill(Number(pid), "SIGKILL");
    await until(() => told.includes(InventoryPart.DISKS), "it to listen again, with what may have been missed");
    await delay(500);
    told = [];
    await run("ip", ["-n", namespace.name, "link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b"]);
    await until(() => told.includes(InventoryPart.NETWORK), "the event");
  });
});
