import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { DISK_NEEDS, readDisks } from "../../../../agent/hardware/disks/disks.ts";
import { readSmart, withSmart } from "../../../../agent/hardware/disks/smart.ts";
import { NETWORK_NEEDS, readNetwork } from "../../../../agent/hardware/network/network.ts";
import { openSshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { DiskHealth, NetworkInterfaceKind as Kind } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { inCampaigns } from "../../../support/in-campaigns.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";

const BOND = [
  "modprobe bonding && modprobe 8021q",
  "ip link add bond0 type bond mode active-backup miimon 100",
  "ip link add dummy0 type dummy",
  "ip link set enp1s0 down",
  "ip link set enp1s0 master bond0",
  "ip link set dummy0 master bond0",
  "ip link set bond0 up",
  "ip link add link bond0 name bond0.20 type vlan id 20",
].join(" && ");

/** What /proc/net/bonding says. */
async function bondShown(guest: RichGuest) {
  const text = await guest.run("cat /proc/net/bonding/bond0");
  const members = [...text.matchAll(/^Slave Interface: (\S+)$/gm)].map(([, name]) => name);
  return { members, active: [/^Currently Active Slave: (\S+)$/m.exec(text)?.[1]], permanent: /Permanent HW addr: (\S+)/.exec(text)?.[1] };
}

describeWithPeers("a host with a bond and an NVMe disk, over SSH by an account that is not root", "rich-guest", () => {
  inCampaigns(
    "is what its own programs show, follows a bond whose card is switched off, and sees an NVMe disk fail",
    async () => {
      await using guest = await RichGuest.start({ nvme: true });
      const privateKey = await readFile(guest.identityFile, "utf8");
      await using host = openSshHost({
        ...{
          host: guest.host,
          port: guest.sshPort,
          user: "fleet",
          privateKey,
          hostKeys: [guest.hostKey],
          log: createLogger({ name: "test", level: "silent" }),
        },
      });
      await guest.run(BOND);

      const network = async () =>
        new Map((await readNetwork(await host.snapshot(NETWORK_NEEDS), NO_USERS)).interfaces.map((one) => [one.name, one]));
      const [before, shown] = [await network(), await bondShown(guest)];
      expect(before.get("bond0")?.bond).toMatchObject({ mode: "active-backup", members: shown.members, active: shown.active });
      expect(before.get("enp1s0")).toMatchObject({ kind: Kind.PHYSICAL, permanentMac: shown.permanent, driver: "e1000e", carrier: true });
      expect(before.get("bond0.20")?.vlan).toEqual({ vlanId: 20, parent: "bond0", protocol: "802.1Q" });
      expect([...before.keys()].sort()).toEqual(
        (await guest.run("ls -d /sys/class/net/*/ | xargs -n1 basename")).trim().split("\n").sort(),
      );

      await guest.run("ip link set enp1s0 down");
      await expect.poll(async () => (await network()).get("bond0")?.bond?.active, { timeout: 60_000 }).toEqual(["dummy0"]);
      expect((await network()).get("enp1s0")).toMatchObject({ enabled: false, carrier: undefined });
      expect((await bondShown(guest)).active).toEqual(["dummy0"]);

      const inventory = await readDisks(await host.snapshot(DISK_NEEDS), NO_USERS);
      const lines = (await guest.run("lsblk --nodeps --noheadings --bytes --raw --output NAME,SIZE,TRAN,SERIAL")).trim().split("\n");
      const read = inventory.disks.map((disk) => {
        // lsblk has no word for virtio.
        const transport = disk.transport === "virtio" ? "" : disk.transport;
        return [disk.name, disk.sizeBytes, transport, disk.serial ?? ""].join(" ");
      });
      expect(read.sort()).toEqual(lines.sort());

      const smartOf = async (name: string) => {
        const { disks } = withSmart(inventory, await readSmart(host, inventory.disks));
        return disks.find((disk) => disk.name === name)?.smart;
      };
      expect(await smartOf("sda")).toMatchObject({ health: DiskHealth.HEALTHY, temperatureCelsius: 31 });
      expect(await smartOf("nvme0n1")).toMatchObject({ health: DiskHealth.HEALTHY, problems: [] });
      await guest.qmp("qom-set", { path: "/machine/peripheral/nvme", property: "smart_critical_warning", value: 12 });
      const failed = await smartOf("nvme0n1");
      expect(failed?.health).toBe(DiskHealth.FAILED);
      expect(failed?.problems).toHaveLength(2);
    },
    RICH_GUEST_START_MS,
  );
});
