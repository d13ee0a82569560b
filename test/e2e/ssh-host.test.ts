import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { type FleetHost, hostTruth } from "../support/fleet-host.ts";
import { describeWithPeers } from "../support/peers.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

const MIB = 2 ** 20;

describeWithPeers("a host that is reached by qemu+ssh alone", ["network-namespaces", "libvirt", "sshd"], () => {
  let fleet: ComputeFleet;
  let host: FleetHost;

  beforeAll(async () => {
    fleet = await ComputeFleet.start({
      hosts: [{ containers: false, ssh: true }],
      agentSettings: ({ ssh }) => ({
        libvirtUri: `qemu+ssh://${ssh.user}@${ssh.address}:${ssh.port}/system`,
        sshIdentity: ssh.identityFile,
        sshKnownHosts: ssh.knownHostsFile,
      }),
    });
    [host] = fleet.hosts as [FleetHost];
  }, 180_000);

  afterAll(() => fleet?.stop());

  test("a VM is made, stopped and deleted by key", async () => {
    const spec = {
      ...{ image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE },
      ...{ cpuCores: 1, memoryBytes: 128 * MIB, network: { networkId: "none" } },
    };
    const { id } = await fleet.change("createInstance", { name: "by-ssh", type: "VM", spec });
    await fleet.untilState(id, "RUNNING");
    expect((await hostTruth(host)).domains).toEqual([id]);
    await fleet.change("stopInstance", { instanceId: id, timeoutSeconds: 45 });
    expect((await fleet.untilState(id, "STOPPED")).stateReason).toBe("REQUESTED");
    await fleet.change("deleteInstance", { instanceId: id });
    await fleet.untilState(id, "DELETED");
    expect(await hostTruth(host)).toEqual({ domains: [], containers: [], files: [], filters: [] });
  }, 180_000);
});
