import { describe, expect, it } from "vitest";
import { readSmart, type SmartReadings, steadyDisks, withSmart } from "../../../../agent/hardware/disks/smart.ts";
import { healthOf } from "../../../../agent/hardware/disks/smart-health.ts";
import { parseSmartctl } from "../../../../agent/hardware/disks/smartctl-report.ts";
import { HostReadError, type UnreadableReason } from "../../../../agent/host/host-channel.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { Disk, DiskHealth, type SmartHealth } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { smartctlOutput } from "../../../support/captured-devices.ts";

const NOW = new Date("2026-01-01T00:00:00Z");

describe("smartctl's answer about a captured disk", () => {
  it("of an NVMe disk that is well", async () => {
    expect(await healthIn("smartctl/nvme")).toMatchObject({
      ...{ health: DiskHealth.HEALTHY, problems: [], temperatureCelsius: 50, powerOnHours: 0, powerCycles: 0, wearPercent: 0 },
      ...{ mediaErrors: 0, errorLogEntries: 0, checkedAt: NOW },
    });
  });

  it("of an NVMe disk with a critical warning", async () => {
    const { health, problems } = await healthIn("smartctl/nvme-unreliable");
    expect(health).toBe(DiskHealth.FAILED);
    expect(problems).toEqual(["The disk is no longer reliable: too many errors of its medium or within it."]);
  });

  it("of a SATA disk", async () => {
    expect(await healthIn("smartctl/sata")).toMatchObject({
      ...{
        health: DiskHealth.HEALTHY,
        temperatureCelsius: 31,
        powerOnHours: 1,
        powerCycles: 0,
        errorLogEntries: 0,
        wearPercent: undefined,
      },
    });
  });
});

describe("smartctl's answer (from documentation)", () => {
  it("of a disk that fails says all that is wrong with it", async () => {
    const smart = await healthIn("smartctl-documented/sata-failing");
    expect(smart).toMatchObject({ health: DiskHealth.FAILED, mediaErrors: 12, errorLogEntries: 60, powerOnHours: 65_592 });
    expect(smart.problems).toEqual([
      "Reallocated_Sector_Ct is at 1, and its threshold is 5.",
      "1975 sectors were replaced by spare ones.",
      "8 sectors cannot be read and wait to be replaced.",
      "The last self-test failed.",
    ]);
  });

  it("of an SSD gives wear and bytes by the names of its attributes", async () => {
    expect(await healthIn("smartctl-documented/sata-ssd")).toMatchObject({
      ...{ health: DiskHealth.HEALTHY, wearPercent: 12, bytesWritten: 2_000_000_000 * 512, bytesRead: 1000 * 32 * 1024 ** 2 },
    });
  });

  it("of a disk that calls itself well but is worn out is a warning", async () => {
    const smart = await healthIn("smartctl-documented/nvme-worn");
    expect(smart).toMatchObject({
      health: DiskHealth.WARNING,
      wearPercent: 104,
      bytesRead: Number.MAX_SAFE_INTEGER,
      bytesWritten: 512_000_000,
    });
    expect(smart.problems).toHaveLength(3);
  });

  it("of a SAS disk sums up errors, and takes the temperature from where there is one", async () => {
    const smart = await healthIn("smartctl-documented/sas");
    expect(smart).toMatchObject({ health: DiskHealth.WARNING, temperatureCelsius: 38, mediaErrors: 1, bytesRead: 1_000_500_000_000 });
    expect(smart.problems).toEqual(["1 errors could not be corrected.", "2 defects have appeared since the disk was made."]);
  });
});

describe("asking disks", () => {
  const sata = disk("sda", "sata", "FG-SATA-1");

  it("fills in what the disk says of itself, and takes back what was missing", async () => {
    const host = new Smartctl({ sda: await smartctlOutput("smartctl-documented/sata-failing") });
    const before = {
      disks: [sata, disk("vda", "virtio")],
      unavailable: [
        { field: "disks[0].firmware", reason: "NOT_SUPPORTED", message: "" },
        { field: "disks[1].firmware", reason: "NOT_SUPPORTED", message: "" },
      ],
    };
    const { disks, unavailable } = withSmart(before, await readSmart(host, before.disks));
    expect(disks[0]).toMatchObject({
      ...{ firmware: "A1", rotationRpm: 7200, interfaceSpeed: "3.0 Gb/s", serial: "FG-SATA-1", smart: { health: DiskHealth.FAILED } },
    });
    expect(unavailable.map(({ field, reason }) => [field, reason])).toEqual([
      ["disks[1].firmware", "NOT_SUPPORTED"],
      ["disks[1].smart", "NOT_SUPPORTED"],
    ]);
    expect(host.asked).toEqual(["sda"]);
  });

  it("says why there is no answer", async () => {
    const reasons: Array<[string, UnreadableReason]> = [
      ["smartctl/usb-unknown-bridge", "NOT_SUPPORTED"],
      ["smartctl/virtio", "NOT_SUPPORTED"],
      ["smartctl-documented/no-permission", "NO_PERMISSION"],
      ["smartctl-documented/switched-off", "NOT_SUPPORTED"],
      ["smartctl-documented/sleeping", "UNREADABLE"],
    ];
    for (const [name, reason] of reasons) {
      const reading = (await readSmart(new Smartctl({ sda: await smartctlOutput(name) }), [sata])).get("sda");
      expect([name, reading?.smart, reading?.failure?.reason]).toEqual([name, undefined, reason]);
    }
    const odd = (await readSmart(new Smartctl({ sda: "smartctl 6.6 2017-11-05" }), [sata])).get("sda");
    expect(odd?.failure).toMatchObject({ reason: "MALFORMED", message: expect.stringContaining("7.0") });
  });

  it("keeps what a disk said before it went to sleep, and wakes none", async () => {
    const previous = await readSmart(new Smartctl({ sda: await smartctlOutput("smartctl/sata") }), [sata]);
    const asleep = new Smartctl({ sda: await smartctlOutput("smartctl-documented/sleeping") });
    expect((await readSmart(asleep, [sata], { previous })).get("sda")?.smart).toEqual(previous.get("sda")?.smart);
    expect(asleep.args).toContain("standby");
  });

  it("asks once where smartctl is not installed, and two disks at a time where it is", async () => {
    const disks = ["sda", "sdb", "sdc", "sdd", "sde"].map((name) => disk(name, "sata"));
    const without = new Smartctl(new HostReadError("NOT_INSTALLED", "smartctl", "smartctl is not installed on this host."));
    expect([...(await readSmart(without, disks)).values()].map(({ failure }) => failure?.reason)).toEqual(Array(5).fill("NOT_INSTALLED"));
    expect(without.asked.length).toBeLessThanOrEqual(2);
    const output = await smartctlOutput("smartctl/sata");
    const host = new Smartctl(Object.fromEntries(disks.map(({ name }) => [name, output])));
    await readSmart(host, disks);
    expect([host.asked.length, host.mostAtOnce]).toEqual([5, 2]);
  });

  it("does not take a reading for another disk that has got the name, nor for one that was not asked", async () => {
    const readings = await readSmart(new Smartctl({ sda: await smartctlOutput("smartctl/sata") }), [sata]);
    const smartOf = (other: Disk, from: SmartReadings) => withSmart({ disks: [other], unavailable: [] }, from);
    expect(smartOf(disk("sda", "sata", "ANOTHER"), readings)).toMatchObject({
      disks: [{ serial: "ANOTHER", smart: undefined, firmware: undefined }],
    });
    expect(smartOf(sata, new Map()).unavailable).toMatchObject([{ field: "disks[0].smart", reason: "UNREADABLE" }]);
    // The number of a bridge to USB, which the disk behind it does not know.
    const bridged = disk("sda", "usb", "BRIDGE");
    const ofBridge = await readSmart(new Smartctl({ sda: await smartctlOutput("smartctl/sata") }), [bridged]);
    expect(smartOf(bridged, ofBridge)).toMatchObject({ disks: [{ serial: "BRIDGE", smart: { health: DiskHealth.HEALTHY } }] });
  });

  it("finds something to report where much space was taken or given back, not for every file", () => {
    const [label, uuid, totalBytes] = [undefined, undefined, 1_000_000];
    const inventory = (availableBytes: number, mount = "/") => {
      const fileSystem = { ...{ type: "ext4", label, uuid, totalBytes, availableBytes }, mountPoints: [mount] };
      return {
        disks: [{ ...sata, partitions: [{ name: "sda1", sizeBytes: 9, type: undefined, label, uuid, fileSystem }] }],
        unavailable: [],
      };
    };
    expect(steadyDisks(inventory(500_000))).toEqual(steadyDisks(inventory(500_100)));
    expect(steadyDisks(inventory(500_000))).not.toEqual(steadyDisks(inventory(300_000)));
    expect(steadyDisks(inventory(500_000))).not.toEqual(steadyDisks(inventory(500_000, "/srv")));
  });
});

/** A host whose smartctl answers what was captured elsewhere. */
class Smartctl extends LocalHost {
  readonly asked: string[] = [];
  args: readonly string[] = [];
  mostAtOnce = 0;
  readonly #answers: Record<string, string> | HostReadError;
  #running = 0;

  constructor(answers: Record<string, string> | HostReadError) {
    super();
    this.#answers = answers;
  }

  override async exec({ args }: { args: readonly string[] }) {
    this.args = args;
    const name = args.at(-1)!.replace("/dev/", "");
    this.asked.push(name);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running);
    await new Promise((resolve) => setImmediate(resolve));
    this.#running -= 1;
    if (this.#answers instanceof HostReadError) throw this.#answers;
    return { exitCode: 0, stdout: this.#answers[name]!, stderr: "" };
  }
}

function disk(name: string, transport: string, serial?: string): Disk {
  return Disk.fromPartial({ name, transport, serial });
}

async function healthIn(name: string): Promise<SmartHealth> {
  return healthOf(parseSmartctl(await smartctlOutput(name)), NOW);
}
