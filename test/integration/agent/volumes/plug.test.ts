import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { DomainIndex } from "../../../../agent/drivers/libvirt/domain-index.ts";
import { Networks } from "../../../../agent/drivers/libvirt/networks.ts";
import { parseSecurityGroups } from "../../../../agent/drivers/libvirt/security-group-rules.ts";
import { SecurityGroups } from "../../../../agent/drivers/libvirt/security-groups.ts";
import { LibvirtStorage } from "../../../../agent/drivers/libvirt/volumes/libvirt-storage.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { AttachedVolume, InstanceType, NetworkInterfaceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { CreatePoolRequest, CreateVolumeRequest, PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import { GuestShell } from "../../../support/guest-shell.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

const KERNEL = { kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE };
const GROUPS = parseSecurityGroups({ web: [{ protocol: "tcp", ports: "80" }, { protocol: "icmp" }] });
const quiet = () => undefined;
const log = createLogger({ name: "test", level: "silent" });
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

/** Under emulation, on a machine that does other things besides. */
const LONG_MS = 180_000;

describeInCampaigns("volumes and interfaces of instances", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  let shell: GuestShell;
  let nativeId: string;
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

  const serials = async () => {
    const disks = "for d in /sys/block/vd*; do echo $(basename $d)=$(cat $d/serial):$(cat $d/size):$(cat $d/ro); done";
    return (await shell.run(disks)).split("\n");
  };
  const nics = async () => (await shell.run("ls /sys/class/net")).split(/\s+/).filter((name) => name.startsWith("eth"));
  const openShell = async () => {
    shell = await GuestShell.open(host.client, { name: plan.instanceId, uuid: nativeId });
  };

  beforeAll(async () => {
    host = await DriverHost.start(72, { securityGroups: GROUPS });
    await host.virsh("net-define", await host.host.libvirt.writeFile("lab.xml", LAB));
    await storage().createPool(CreatePoolRequest.fromPartial({ name: "data", kind: PoolKind.DIR }), soon());
  }, 120_000);
  afterAll(async () => await host?.[Symbol.asyncDispose](), 60_000);

  const plan = planned({
    disks: [{ name: "root", sizeBytes: 8 * MIB }],
    volumes: [attached("alpha")],
    interfaces: [extraNic("back", ["web"])],
  });
  const ref = { instanceId: plan.instanceId };

  test(
    "disks and interfaces come and go while a guest runs",
    async () => {
      await volume("alpha");
      await volume("beta", { format: ImageFormat.RAW, capacityBytes: 8 * MIB });
      await volume("seeded", { image: "tiny.qcow2", capacityBytes: 0 });
      nativeId = (await host.driver.create(plan, quiet, soon())).nativeId;
      await host.driver.start(ref, soon());
      await openShell();
      expect(await serials()).toEqual(["vda=root:16384:0", "vdb=alpha:32768:0"]);
      expect(await nics()).toEqual(["eth0", "eth1"]);

      // Each twice: what is done already stays as it is.
      const volumes = [attached("alpha"), attached("beta", "beta", true), attached("s", "seeded")];
      const interfaces = [extraNic("back", ["web"]), extraNic("front")];
      const plugged = await storage().plug(ref, volumes, interfaces, soon());
      const told = plugged.map(({ name, native }) => `${name} ${native}`);
      expect(told).toEqual(["alpha vdb", "beta vdc", "s vdd", expect.stringMatching(/^back 52:/), expect.stringMatching(/^front 52:/)]);
      expect(await storage().plug(ref, volumes, interfaces, soon())).toEqual(plugged);
      await until(async () => (await serials()).length === 4 && (await nics()).length === 3, "the guest to see them", 30_000);
      expect(await serials()).toEqual(["vda=root:16384:0", "vdb=alpha:32768:0", "vdc=beta:16384:1", `vdd=s:${(64 * MIB) / 512}:0`]);
      await shell.run("echo kept-in-alpha | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null");
      await shell.run("ip link set eth2 up; udhcpc -i eth2 -q -n -t 60 -T 1 -s /bin/on-lease >/dev/null 2>&1");

      const used = await storage().listVolumes("data", soon());
      expect(used.map(({ name, usedBy }) => `${name} ${usedBy}`)).toEqual(
        ["alpha", "beta", "seeded"].map((name) => `${name} ${plan.instanceId}`),
      );
      expect(await refusal(storage().deleteVolume({ pool: "data", name: "alpha" }, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
      const larger = await storage().resizeVolume({ pool: "data", name: "alpha" }, 24 * MIB, soon());
      expect(larger.capacityBytes).toBe(24 * MIB);
      await until(async () => (await serials()).includes("vdb=alpha:49152:0"), "the guest to see the size", 30_000);
      const shrink = storage().resizeVolume({ pool: "data", name: "alpha" }, 16 * MIB, soon());
      expect(await refusal(shrink)).toBe("FAILED_PRECONDITION VolumeShrink");
      expect(await refusal(storage().resizeVolume({ pool: "data", name: "beta" }, 16 * MIB, soon()))).toBe(
        "FAILED_PRECONDITION VolumeInUse",
      );

      const addresses = async () => (await host.find(plan))?.ipAddresses ?? [];
      await until(async () => (await addresses()).some((address) => address.startsWith("10.78.0.")), "its address", 40_000);
      await storage().plug(ref, [attached("alpha"), attached("s", "seeded")], [extraNic("front")], soon());
      await until(async () => (await serials()).length === 3 && (await nics()).length === 2, "the guest to see them go", 30_000);
      expect((await host.traces()).filter((trace) => trace.includes("fleetgraph-inst"))).toEqual([]);
      await storage().deleteVolume({ pool: "data", name: "beta" }, soon());
    },
    LONG_MS,
  );

  test(
    "libvirt's end in the middle leaves what is done when it is asked for again",
    async () => {
      const seed = seedOfRun();
      const random = seededRandom(seed);
      await volume("gamma");
      for (let round = 0; round < 2; round++) {
        const isIn = round % 2 === 0;
        const volumes = [attached("alpha"), attached("s", "seeded"), ...(isIn ? [attached("gamma")] : [])];
        const interfaces = [extraNic("front"), ...(isIn ? [extraNic("late")] : [])];
        const plug = () => storage().plug(ref, volumes, interfaces, soon());
        const first = plug().catch(() => null);
        await delay(random() * 150);
        await host.host.libvirt.kill();
        await host.host.libvirt.start();
        await first;
        await until(async () => (await plug().catch(() => null)) !== null, "what was asked for", 40_000);
        await shell.close();
        await openShell();
        const [disks, devices] = isIn ? [4, 3] : [3, 2];
        const isThere = async () => (await serials()).length === disks && (await nics()).length === devices;
        await until(isThere, `the guest to see it (SEED=${seed}, round ${round})`, 30_000);
        expect((await host.virsh("dumpxml", "--inactive", plan.instanceId)).includes("gamma"), `SEED=${seed}`).toBe(isIn);
      }
    },
    LONG_MS,
  );

  test(
    "a guest that stands still lets go of nothing; when it goes on, it does",
    async () => {
      const { client } = host;
      const impatient = new LibvirtStorage({
        ...{ client, log, removalMs: 100, paths: { roots: [], isLocal: true } },
        storage: { directories: [], image: () => Promise.reject(new Error("no images")) },
        index: new DomainIndex(client, log),
        networks: new Networks({ client, log, publicNetwork: null }),
        securityGroups: new SecurityGroups({ client, groups: new Map(), readHostFile: null }),
      });
      const without = () => impatient.plug(ref, [attached("alpha")], [extraNic("front")], soon());
      await host.driver.suspend(ref, soon());
      expect(await refusal(without())).toBe("FAILED_PRECONDITION DeviceBusy");
      expect(await host.virsh("dumpxml", "--inactive", plan.instanceId)).toContain("seeded");
      await host.driver.resume(ref, soon());
      await until(async () => (await without().catch(() => null)) !== null, "the volume to go", 40_000);
      await storage().plug(ref, [attached("alpha"), attached("s", "seeded")], [extraNic("front")], soon());
    },
    LONG_MS,
  );

  test(
    "after it was stopped and started it has what it had; what goes with it are its own disks",
    async () => {
      await shell.close();
      await host.driver.kill(ref, soon());
      await host.restartAgent();
      await host.driver.start(ref, soon());
      await openShell();
      expect((await serials()).map((line) => line.split(":")[0])).toEqual(["vda=root", "vdb=alpha", "vdc=s"]);
      expect(await shell.run("head -c 13 /dev/vdb")).toContain("kept-in-alpha");
      expect(await nics()).toEqual(["eth0", "eth1"]);
      await shell.close();
      await host.driver.remove(ref, soon());
      expect(await host.traces()).toEqual([]);
      const left = await storage().listVolumes("data", soon());
      expect(left.map(({ name, usedBy }) => `${name} ${usedBy.length}`)).toEqual(["alpha 0", "gamma 0", "seeded 0"]);
    },
    LONG_MS,
  );

  test(
    "a microVM changes while it is stopped only",
    async () => {
      const micro = planned({ volumes: [attached("alpha")], network: { networkId: "none" } }, { type: InstanceType.MICROVM });
      const microRef = { instanceId: micro.instanceId };
      nativeId = (await host.driver.create(micro, quiet, soon())).nativeId;
      expect(await storage().plug(microRef, [attached("alpha"), attached("s", "seeded")], [extraNic("front")], soon())).toHaveLength(3);
      await host.driver.start(microRef, soon());
      shell = await GuestShell.open(host.client, { name: micro.instanceId, uuid: nativeId });
      // Without PCI the last device comes first.
      expect((await serials()).map((line) => line.replace(/^vd.=|:.*/g, "")).sort()).toEqual(["alpha", "s"]);
      expect(await nics()).toEqual(["eth0"]);
      expect(await refusal(storage().plug(microRef, [attached("alpha")], [], soon()))).toBe("FAILED_PRECONDITION HotPlugUnsupported");
      await shell.close();
      await host.driver.kill(microRef, soon());
      await storage().plug(microRef, [], [], soon());
      expect((await host.virsh("domblklist", micro.instanceId)).trim()).not.toContain("alpha");
      await host.driver.remove(microRef, soon());
    },
    LONG_MS,
  );

  test(
    "what cannot be had is refused by its name, and nothing is left of it",
    async () => {
      const bad = async (spec: Parameters<typeof instancePlan>[0]) => {
        const error = await host.driver.create(planned(spec), quiet, soon()).catch((thrown: unknown) => thrown);
        const { reason, details } = error as { reason: string; details: { field: string } };
        return `${reason} ${details.field}`;
      };
      const other = (pool: string) => AttachedVolume.fromPartial({ name: "v", pool, volume: "alpha" });
      expect(await bad({ volumes: [other("nowhere")] })).toBe("PoolMissing spec.volumes[0].pool");
      expect(await bad({ volumes: [attached("a", "absent")] })).toBe("VolumeMissing spec.volumes[0].volume");
      expect(await bad({ volumes: [attached("../x")] })).toBe("DeviceNameInvalid spec.volumes[0].name");
      expect(await bad({ disks: [{ name: "alpha", sizeBytes: MIB }], volumes: [attached("alpha")] })).toBe(
        "DeviceNameTaken spec.volumes[0].name",
      );
      expect(await bad({ interfaces: [NetworkInterfaceSpec.fromPartial({ name: "n", network: { networkId: "nowhere" } })] })).toBe(
        "NetworkNotFound spec.interfaces[0].network.networkId",
      );
      expect(await bad({ interfaces: [extraNic("n", ["nobody"])] })).toBe(
        "SecurityGroupNotFound spec.interfaces[0].network.securityGroups",
      );
      expect(await host.traces()).toEqual([]);
    },
    LONG_MS,
  );
});
