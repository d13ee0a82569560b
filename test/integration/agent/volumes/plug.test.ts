import { afterAll, beforeAll, expect, test } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { parseSecurityGroups } from "../../../../agent/drivers/libvirt/security-group-rules.ts";
import { AttachedVolume, NetworkInterfaceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { CreatePoolRequest, CreateVolumeRequest, PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import { GuestShell } from "../../../support/guest-shell.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

const KERNEL = { kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE };
const GROUPS = parseSecurityGroups({ web: [{ protocol: "tcp", ports: "80" }, { protocol: "icmp" }] });
const quiet = () => undefined;
let ids = 0;

function planned(spec: Parameters<typeof instancePlan>[0], more: Partial<InstancePlan> = {}): InstancePlan {
  return instancePlan({ ...KERNEL, memoryBytes: 96 * MIB, ...spec }, { instanceId: `inst-p${String(++ids).padStart(15, "0")}`, ...more });
}

const attached = (name: string, volume = name, readOnly = false) => AttachedVolume.fromPartial({ name, pool: "data", volume, readOnly });
const extraNic = (name: string, securityGroups: string[] = []) =>
  NetworkInterfaceSpec.fromPartial({ name, network: { networkId: "lab", securityGroups } });
/** One whose ports carry packets at once. */
const LAB =
  "<network><name>lab</name><bridge stp='off' delay='0'/><ip address='10.78.0.1' prefix='24'><dhcp><range start='10.78.0.2' end='10.78.0.99'/></dhcp></ip></network>";

describeWithPeers("volumes and interfaces of instances", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  const storage = () => host.driver.storage;
  const refusal = async (work: Promise<unknown>) => {
    const error = (await work.catch((thrown: unknown) => thrown)) as { code: string; reason: string };
    return `${error.code} ${error.reason}`;
  };
  const volume = (name: string, more: Parameters<typeof CreateVolumeRequest.fromPartial>[0] = {}) =>
    storage().createVolume(
      CreateVolumeRequest.fromPartial({ pool: "data", name, format: ImageFormat.QCOW2, capacityBytes: 16 * MIB, ...more }),
      soon(),
    );

  beforeAll(async () => {
    host = await DriverHost.start(72, { securityGroups: GROUPS });
    await host.virsh("net-define", await host.host.libvirt.writeFile("lab.xml", LAB));
    await storage().createPool(CreatePoolRequest.fromPartial({ name: "data", kind: PoolKind.DIR }), soon());
  }, 120_000);
  afterAll(async () => await host?.[Symbol.asyncDispose](), 60_000);

  test("disks and interfaces come and go while a guest runs, and are there after it was stopped and started", async () => {
    await volume("alpha");
    await volume("beta", { format: ImageFormat.RAW, capacityBytes: 8 * MIB });
    await volume("seeded", { image: "tiny.qcow2", capacityBytes: 0 });
    const plan = planned({
      disks: [{ name: "root", sizeBytes: 8 * MIB }],
      volumes: [attached("alpha")],
      interfaces: [extraNic("back", ["web"])],
    });
    const ref = { instanceId: plan.instanceId };
    await host.driver.create(plan, quiet, soon());
    await host.driver.start(ref, soon());
    const nativeId = (await host.find(plan))!.nativeId;
    let shell = await GuestShell.open(host.client, { name: plan.instanceId, uuid: nativeId });
    const serials = async () =>
      (await shell.run("for d in /sys/block/vd*; do echo ${d##*/}=$(cat $d/serial):$(cat $d/size):$(cat $d/ro); done")).split("\n");
    expect(await serials()).toEqual(["vda=root:16384:0", "vdb=alpha:32768:0"]);
    const nics = async () => (await shell.run("ls /sys/class/net")).split(/\s+/).filter((name) => name.startsWith("eth"));
    expect(await nics()).toEqual(["eth0", "eth1"]);

    // Each twice: what is done already stays as it is.
    const volumes = [attached("alpha"), attached("beta", "beta", true), attached("s", "seeded")];
    const interfaces = [extraNic("back", ["web"]), extraNic("front")];
    const plugged = await storage().plug(ref, volumes, interfaces, soon());
    expect(plugged.map(({ name, native }) => `${name} ${native}`)).toEqual([
      "alpha vdb",
      "beta vdc",
      "s vdd",
      expect.stringMatching(/^back 52:/),
      expect.stringMatching(/^front 52:/),
    ]);
    expect(await storage().plug(ref, volumes, interfaces, soon())).toEqual(plugged);
    await until(async () => (await serials()).length === 4 && (await nics()).length === 3, "the guest to see them", 30_000);
    expect(await serials()).toEqual(["vda=root:16384:0", "vdb=alpha:32768:0", "vdc=beta:16384:1", `vdd=s:${(64 * MIB) / 512}:0`]);
    await shell.run("echo kept-in-alpha | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null");
    const front = plugged.at(-1)!.native;
    await shell.run("ip link set eth2 up; udhcpc -i eth2 -q -n -t 60 -T 1 -s /bin/on-lease >/dev/null 2>&1; true");
    expect(await host.virsh("domiflist", plan.instanceId)).toContain(front);

    const used = await storage().listVolumes("data", soon());
    expect(used.map(({ name, usedBy }) => `${name} ${usedBy}`)).toEqual(
      ["alpha", "beta", "seeded"].map((name) => `${name} ${plan.instanceId}`),
    );
    expect(await refusal(storage().deleteVolume({ pool: "data", name: "alpha" }, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
    expect(await refusal(storage().deletePool("data", true, soon()))).toBe("FAILED_PRECONDITION PoolInUse");
    const larger = await storage().resizeVolume({ pool: "data", name: "alpha" }, 24 * MIB, soon());
    expect(larger.capacityBytes).toBe(24 * MIB);
    await until(async () => (await serials()).includes("vdb=alpha:49152:0"), "the guest to see the size", 30_000);
    expect(await refusal(storage().resizeVolume({ pool: "data", name: "alpha" }, 16 * MIB, soon()))).toBe(
      "FAILED_PRECONDITION VolumeShrink",
    );

    await until(async () => (await host.find(plan))!.ipAddresses.some((address) => address.startsWith("10.78.0.")), "its address", 40_000);
    await storage().plug(ref, [attached("alpha"), attached("s", "seeded")], [extraNic("front")], soon());
    await until(async () => (await serials()).length === 3 && (await nics()).length === 2, "the guest to see them go", 30_000);
    expect((await host.traces()).filter((trace) => trace.includes("fleetgraph-inst"))).toEqual([]);
    await storage().deleteVolume({ pool: "data", name: "beta" }, soon());

    await shell.close();
    await host.driver.kill(ref, soon());
    await host.restartAgent();
    await host.driver.start(ref, soon());
    shell = await GuestShell.open(host.client, { name: plan.instanceId, uuid: nativeId });
    expect((await serials()).map((line) => line.split(":")[0])).toEqual(
      ["vda=root", "vdb=alpha", "vdd=s"].map((line, at) => line.replace(/^vd./, `vd${"abc"[at]}`)),
    );
    expect(await shell.run("head -c 13 /dev/vdb")).toContain("kept-in-alpha");
    expect(await nics()).toEqual(["eth0", "eth1"]);
    await shell.close();
    await host.driver.remove(ref, soon());
    expect(await host.traces()).toEqual([]);
    expect((await storage().listVolumes("data", soon())).map(({ name, usedBy }) => `${name} ${usedBy.length}`)).toEqual([
      "alpha 0",
      "seeded 0",
    ]);
  });
});
