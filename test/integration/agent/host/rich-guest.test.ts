import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSshHost, type SshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";

const log = createLogger({ name: "test", level: "silent" });
const { signal } = new AbortController();
const SUDOERS = new URL("../../../../agent/host/fleetgraph.sudoers", import.meta.url);

test("the sudoers file leaves arguments open for the journal alone", async () => {
  const rules = (await readFile(SUDOERS, "utf8")).replace(/^#.*\n/gm, "").replaceAll("\\\n", "");
  const commands = [...rules.matchAll(/(?:=|,)\s*(\/\S+ [^,\n]+)/g)].map(([, command]) => command?.trim() ?? "");
  expect(commands.length).toBeGreaterThan(10);
  expect(commands.filter((command) => /[*?]/.test(command))).toEqual(["/usr/bin/journalctl --no-pager *"]);
});

describeInCampaigns("a whole machine over SSH, by an account that is not root", "rich-guest", () => {
  let guest: RichGuest;
  let host: SshHost;

  beforeAll(async () => {
    guest = await RichGuest.start({ nvme: true });
    const sudoers = (await readFile(SUDOERS, "utf8")).replace("FLEETGRAPH = fleetgraph", "FLEETGRAPH = fleet");
    const encoded = Buffer.from(sudoers).toString("base64");
    await guest.run(`rm -f /etc/sudoers.d/*; echo ${encoded} | base64 -d >/etc/sudoers.d/fleet; chmod 440 /etc/sudoers.d/fleet; visudo -c`);
    host = openSshHost({ ...way(), privateKey: await readFile(guest.identityFile, "utf8") });
    await host.attempt(signal);
  }, RICH_GUEST_START_MS);

  afterAll(async () => {
    await host?.close();
    await guest?.[Symbol.asyncDispose]();
  });

  const way = () => ({ host: guest.host, port: guest.sshPort, user: "fleet", hostKeys: [guest.hostKey], log });

  test("is let in by password, too", async () => {
    await using byPassword = openSshHost({ ...way(), password: guest.passwords.fleet });
    await byPassword.attempt(signal);
    expect((await byPassword.exec({ program: "id", args: ["-un"] }, { timeoutMs: 60_000 })).stdout).toBe("fleet\n");
  }, 120_000);

  test("runs as root what the sudoers file that the project ships names, and nothing else", async () => {
    const run = (program: string, ...args: string[]) => host.exec({ program, args, privileged: true }, { timeoutMs: 60_000 });
    const smart = JSON.parse((await run("smartctl", "--json", "-a", "-n", "standby", "/dev/nvme0n1")).stdout);
    expect(smart).toMatchObject({ smart_status: { passed: true }, device: { protocol: "NVMe" } });
    const logind = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];
    expect((await run("busctl", "--json=short", "call", ...logind, "CanReboot")).stdout).toContain('"yes"');
    expect((await run("journalctl", "--no-pager", "-n", "1", "-o", "json")).stdout).toContain("__CURSOR");
    const vfs = "/sys/bus/pci/devices/0000:02:00.0/sriov_numvfs";
    const set = await host.exec({ program: "tee", args: [vfs], privileged: true }, { input: "0", timeoutMs: 60_000 });
    expect([set.exitCode, set.stdout]).toEqual([0, "0"]);
    for (const [program, ...args] of [
      ["smartctl", "-s", "off", "/dev/nvme0n1"],
      ["smartctl", "--json", "-a", "-n", "standby", "/dev/sda -s off"],
      ["tee", "/sys/bus/pci/devices/0000:02:00.0/driver_override"],
      ["systemctl", "stop", "ssh"],
      ["cat", "/etc/shadow"],
    ] as const) {
      await expect(run(program, ...args)).rejects.toMatchObject({ reason: "NO_PERMISSION" });
    }
  }, 300_000);

  test("leads to its libvirt", async () => {
    const client = LibvirtClient.open({ uri: "qemu:///system", host, log });
    try {
      expect((await client.call("connectGetUri", {}, { timeoutMs: 60_000 })).uri).toBe("qemu:///system");
    } finally {
      await client.close();
    }
  }, 120_000);
});
