import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeInCampaigns } from "../../support/in-campaigns.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../support/rich-guest.ts";
import { until } from "../../support/until.ts";

describeInCampaigns("the rich guest", "rich-guest", () => {
  let guest: RichGuest;
  beforeAll(async () => {
    guest = await RichGuest.start({ nvme: true });
  }, RICH_GUEST_START_MS);
  afterAll(() => guest?.stop());

  it("goes on from its saved state, at the time of this machine", async () => {
    expect(guest.restored).toBe(true);
    const seconds = Number(await guest.run("date +%s", { user: "fleet" }));
    expect(Math.abs(Date.now() / 1_000 - seconds)).toBeLessThan(120);
  });

  it("has hardware to look at", async () => {
    const pci = await guest.run("lspci -nn");
    expect(pci).toContain("[1b36:0010]"); // NVMe
    expect(pci).toContain("[8086:10d3]"); // e1000e
    expect(pci).toContain("[1b36:000d]"); // xHCI
    expect((await guest.run("ls -d /sys/devices/system/node/node*")).trim().split("\n")).toHaveLength(2);
    expect(Number(await guest.run("ls /sys/kernel/iommu_groups | wc -l"))).toBeGreaterThan(5);
    expect(await guest.run("cat /sys/class/nvme/nvme0/device/sriov_totalvfs")).toBe("2\n");
    const smart = JSON.parse(await guest.run("sudo -n smartctl --json -a -n standby /dev/nvme0", { user: "fleet" }));
    expect(smart.smart_status.passed).toBe(true);
  });

  it("has the services of a host", async () => {
    expect(await guest.run("virsh -c qemu:///system version", { user: "fleet" })).toContain("Running hypervisor: QEMU");
    expect(await guest.run("sudo -n journalctl --no-pager -n 1 -o cat", { user: "fleet" })).not.toBe("");
    const reboot = "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager CanReboot";
    expect(await guest.run(reboot)).toBe('s "yes"\n');
  });

  it("hears of what is plugged and unplugged", async () => {
    const devices = listen("udevadm monitor --kernel");
    const links = listen("ip monitor link");
    try {
      await until(() => devices.said.includes("KERNEL -"), "udevadm");
      await guest.qmp("device_add", { driver: "usb-mouse", id: "mouse", bus: "xhci.0" });
      await until(() => /KERNEL\[[\d.]+\] add .*\(usb\)/.test(devices.said), "the mouse");
      const name = (await guest.run("ls /sys/bus/pci/drivers/e1000e/*/net")).trim();
      await guest.run(`ip link set ${name} up`);
      await until(() => links.said.includes(`${name}: <BROADCAST,MULTICAST,UP,LOWER_UP>`), "the link");
      // Before its carrier was found it had said NO-CARRIER, too.
      links.said = "";
      await guest.setLabLink(false);
      await until(() => links.said.includes(`${name}: <NO-CARRIER,`), "the link's end");
    } finally {
      devices.child.kill();
      links.child.kill();
    }
  });

  function listen(command: string): { child: ChildProcess; said: string } {
    const listener = { child: guest.spawn(command), said: "" };
    listener.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      listener.said += text;
    });
    return listener;
  }
});
