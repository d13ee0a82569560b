import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ACCELERATOR_NEEDS, readAccelerators, readAcceleratorUsage } from "../../../../agent/hardware/accelerators/accelerators.ts";
import { CapturedHost } from "../../../../agent/host/capture/captured-host.ts";
import { type CapturedCommand, type CapturedEntry, commandKey } from "../../../../agent/host/capture/format.ts";
import { NOT_INSTALLED } from "../../../../agent/host/ssh/remote-shell.ts";
import { AcceleratorVendor } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const PCI = "/sys/bus/pci/devices";
const fixture = (name: string) => readFileSync(new URL(`../../../fixtures/accelerators/${name}`, import.meta.url), "utf8");

interface Device {
  address: string;
  vendor: string;
  class: string;
  numaNode?: string;
  physfn?: string;
}

/** A host with these devices, on which these programs answer; the others are not installed. */
function hostWith(devices: Device[], answers: Record<string, Partial<CapturedCommand>>): CapturedHost {
  const entries = new Map<string, CapturedEntry>([[PCI, { names: devices.map(({ address }) => address) }]]);
  for (const { address, vendor, class: classId, numaNode, physfn } of devices) {
    entries.set(`${PCI}/${address}/vendor`, { content: `${vendor}\n` });
    entries.set(`${PCI}/${address}/class`, { content: `${classId}\n` });
    if (numaNode !== undefined) entries.set(`${PCI}/${address}/numa_node`, { content: `${numaNode}\n` });
    if (physfn !== undefined) entries.set(`${PCI}/${address}/physfn`, { link: `../${physfn}` });
  }
  const commands = ACCELERATOR_NEEDS.commands.map((command): [string, CapturedCommand] => {
    const missing = { exitCode: NOT_INSTALLED.exitCode, stdout: "", stderr: `sh: ${NOT_INSTALLED.said}` };
    const answer = answers[[command.program, ...command.args.slice(0, 1)].join(" ")] ?? answers[command.program] ?? missing;
    return [commandKey(command), { command: { privileged: false, ...command }, exitCode: 0, stdout: "", stderr: "", ...answer }];
  });
  return new CapturedHost({ architecture: "x86_64", paths: [...ACCELERATOR_NEEDS.paths], entries, commands: new Map(commands) });
}

const A100: Device = { address: "0000:01:00.0", vendor: "0x10de", class: "0x030200", numaNode: "0" };
const H100: Device = { address: "0000:c1:00.0", vendor: "0x10de", class: "0x030200", numaNode: "1" };

describe("a host's accelerators", () => {
  it("are what the vendor's program tells, with the NUMA node from the bus", async () => {
    const answers = {
      "nvidia-smi -q": { stdout: fixture("nvidia-smi-v12.xml") },
      "nvidia-smi topo": { stdout: fixture("nvidia-smi-topo.txt") },
    };
    const { accelerators, links, unavailable } = await readAccelerators(hostWith([A100, H100], answers));
    expect(accelerators).toMatchObject([
      { model: "NVIDIA A100-SXM4-80GB", numaNode: 0 },
      { model: "NVIDIA H100 80GB HBM3", numaNode: 1 },
    ]);
    expect(links).toMatchObject([{ type: "NVLink", lanes: 18 }]);
    expect(unavailable).toEqual([]);
  });

  it("are shown without a program, too, with the reason; screens and virtual functions are not", async () => {
    const host = hostWith(
      [
        { address: "0000:00:02.0", vendor: "0x1234", class: "0x030000" },
        A100,
        { address: "0000:81:00.0", vendor: "0x19e5", class: "0x120000", numaNode: "-1" },
        { address: "0000:81:00.1", vendor: "0x19e5", class: "0x120000", physfn: "0000:81:00.0" },
        { address: "0000:91:00.0", vendor: "0x1e3e", class: "0x030200" },
      ],
      { "npu-smi info": { exitCode: 255, stdout: "dcmi module initialize failed. ret is -8005" } },
    );
    const { accelerators, unavailable } = await readAccelerators(host);
    expect(accelerators.map(({ id, vendor, numaNode, experimental }) => [id, vendor, numaNode, experimental])).toEqual([
      ["0000:01:00.0", AcceleratorVendor.NVIDIA, 0, false],
      ["0000:81:00.0", AcceleratorVendor.HUAWEI, undefined, false],
      ["0000:91:00.0", AcceleratorVendor.OTHER, undefined, false],
    ]);
    const reasons = new Map(unavailable.map(({ field, reason, message }) => [field, `${reason} ${message}`]));
    expect(reasons.get("accelerators[0].model")).toMatch(/^NOT_INSTALLED .*nvidia-smi/);
    expect(reasons.get("accelerators[1].memoryTotalBytes")).toMatch(/^UNREADABLE .*ended with 255: dcmi module/);
    expect(reasons.get("accelerators[2].model")).toMatch(/^NOT_SUPPORTED/);
  });

  it("are shown where the program does not tell of one: a guest has it", async () => {
    const bound = { ...A100, address: "0000:41:00.0" };
    const host = hostWith([A100, H100, bound], { "nvidia-smi -q": { stdout: fixture("nvidia-smi-v12.xml") } });
    const { accelerators, unavailable } = await readAccelerators(host);
    expect(accelerators.map(({ id }) => id)).toEqual([expect.stringMatching(/01$/), expect.stringMatching(/02$/), "0000:41:00.0"]);
    expect(unavailable).toMatchObject([
      { field: "accelerators[2].model", reason: "NOT_PRESENT" },
      { field: "accelerators[2].memoryTotalBytes" },
    ]);
  });

  it("count once where two programs tell of them", async () => {
    const json = fixture("rocm-smi.json");
    const host = hostWith([], { "hy-smi": { stdout: json }, "rocm-smi": { stdout: json } });
    expect((await readAccelerators(host)).accelerators.map(({ vendor }) => vendor)).toEqual([
      AcceleratorVendor.HYGON,
      AcceleratorVendor.HYGON,
    ]);
    expect((await readAcceleratorUsage(host)).samples).toHaveLength(2);
  });

  it("are none on a host without", async () => {
    expect(await readAccelerators(hostWith([], {}))).toEqual({ accelerators: [], links: [], unavailable: [] });
    expect(await readAcceleratorUsage(hostWith([], {}))).toMatchObject({ samples: [], unavailable: [] });
  });
});

describe("the use of accelerators", () => {
  it("is unavailable, with the reason, where a program is there and fails", async () => {
    const host = hostWith([A100], { "nvidia-smi -q": { exitCode: 9, stdout: "NVIDIA-SMI has failed because it couldn't communicate" } });
    const { samples, unavailable } = await readAcceleratorUsage(host);
    expect(samples).toEqual([]);
    expect(unavailable).toMatchObject([
      { field: "samples", reason: "UNREADABLE", message: expect.stringContaining("couldn't communicate") },
    ]);
  });

  it("is unavailable where what it writes is not understood", async () => {
    const host = hostWith([A100], { "nvidia-smi -q": { stdout: "no XML at all" } });
    expect((await readAcceleratorUsage(host)).unavailable).toMatchObject([{ reason: "MALFORMED" }]);
  });
});
