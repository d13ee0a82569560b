import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect } from "vitest";
import { openSshHost, type SshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { HostPower } from "../../../../agent/power/host-power.ts";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { CAMPAIGN, inCampaigns } from "../../../support/in-campaigns.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const MINUTES = 60_000;

/** A real systemd under emulation, by an account with the project's sudoers file and nothing more. */
describeWithPeers("the rich guest's power over SSH", "rich-guest", () => {
  let guest: RichGuest;
  let host: SshHost;
  let power: HostPower;

  beforeAll(async () => {
    if (!CAMPAIGN) return;
    guest = await RichGuest.start();
    const sudoers = await readFile(new URL("../../../../agent/host/fleetgraph.sudoers", import.meta.url), "utf8");
    const file = Buffer.from(sudoers.replace("User_Alias FLEETGRAPH = fleetgraph", "User_Alias FLEETGRAPH = fleet")).toString("base64");
    await guest.run(`rm -f /etc/sudoers.d/*; echo ${file} | base64 -d > /tmp/sudoers`);
    host = openSshHost({
      ...{ host: guest.host, port: guest.sshPort, user: "fleet", hostKeys: [guest.hostKey], log },
      privateKey: await readFile(guest.identityFile, "utf8"),
    });
    await host.attempt(AbortSignal.timeout(MINUTES));
    power = new HostPower(host, true, log);
  }, RICH_GUEST_START_MS);

  afterAll(async () => {
    await host?.close();
    await guest?.stop();
  });

  /** Under emulation, beside other tests, a program of the guest may take longer than it is given. */
  const patiently = async <T>(ask: () => Promise<T>): Promise<T> => {
    let answer: { value: T } | null = null;
    await until(
      async () => {
        try {
          answer = { value: await ask() };
          return true;
        } catch (error) {
          if ((error as FleetError).code !== "UNAVAILABLE") throw error;
          return false;
        }
      },
      "the guest to answer",
      3 * MINUTES,
    );
    return (answer as unknown as { value: T }).value;
  };
  const state = () => patiently(() => power.state());
  const bootId = async () => (await guest.run("cat /proc/sys/kernel/random/boot_id")).trim();

  inCampaigns(
    "is refused without the sudoers file, and while a program blocks it",
    async () => {
      const order = { operationId: "op-refused", bootId: await bootId(), reason: "test" };
      expect(await state()).toMatchObject({ bootId: order.bootId, canReboot: false, reason: "NoPermission" });
      await expect(patiently(() => power.order("REBOOT", order))).rejects.toMatchObject({ reason: "NoPermission" });
      await guest.run("install -m 440 /tmp/sudoers /etc/sudoers.d/fleetgraph && visudo --check");
      expect(await state()).toMatchObject({ canReboot: true, canShutDown: true, reason: "" });
      const inhibit = "systemd-inhibit --what=shutdown --who=updates --why=halfway --mode=block sleep 600";
      await guest.run(`(setsid ${inhibit} >/dev/null 2>&1 </dev/null &)`);
      await until(async () => !(await state()).canReboot, "the inhibitor to be seen", MINUTES);
      await expect(patiently(() => power.order("REBOOT", order))).rejects.toMatchObject({
        reason: "Inhibited",
        message: expect.stringContaining("updates"),
      });
      await guest.run("pkill -f 'sleep 600'");
      await until(async () => (await state()).canReboot, "the inhibitor to be gone", MINUTES);
      expect(await bootId()).toBe(order.bootId);
    },
    8 * MINUTES,
  );

  inCampaigns(
    "reboots it through logind, once",
    async () => {
      const before = await state();
      const order = { operationId: "op-reboot", bootId: before.bootId, reason: "test" };
      expect(await patiently(() => power.order("REBOOT", order))).toMatchObject({ operationId: "op-reboot" });
      const after = async () => (await power.state().catch(() => null))?.bootId ?? before.bootId;
      await until(async () => (await after()) !== before.bootId, "another boot", 5 * MINUTES);
      expect(await state()).toMatchObject({ canReboot: true, operationId: "" });
      await expect(patiently(() => power.order("REBOOT", order))).rejects.toMatchObject({ reason: "AnotherBoot" });
    },
    8 * MINUTES,
  );

  inCampaigns(
    "shuts it down",
    async () => {
      const { bootId: boot } = await state();
      await patiently(() => power.order("SHUTDOWN", { operationId: "op-shutdown", bootId: boot, reason: "test" }));
      await until(() => !guest.running, "the machine to be off", 3 * MINUTES);
      await expect(power.state()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "HostUnreachable" });
    },
    5 * MINUTES,
  );
});
