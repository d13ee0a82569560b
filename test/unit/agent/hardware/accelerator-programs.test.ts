import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ASCEND } from "../../../../agent/hardware/accelerators/ascend.ts";
import { CAMBRICON } from "../../../../agent/hardware/accelerators/cambricon.ts";
import { NVIDIA } from "../../../../agent/hardware/accelerators/nvidia.ts";
import { HYGON, ROCM } from "../../../../agent/hardware/accelerators/rocm.ts";
import type { VendorProgram } from "../../../../agent/hardware/accelerators/vendor-program.ts";
import { AcceleratorVendor } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const MIB = 1024 * 1024;
const fixture = (name: string) => readFileSync(new URL(`../../../fixtures/accelerators/${name}`, import.meta.url), "utf8");

function read(program: VendorProgram, output: string, topology: string | null = null) {
  const { told, links } = program.parse(fixture(output), topology === null ? null : fixture(topology));
  return { accelerators: told.map(({ accelerator }) => accelerator), samples: told.map(({ sample }) => sample), links };
}

describe("nvidia-smi", () => {
  it("tells what its GPUs are, divided ones too", () => {
    const { accelerators } = read(NVIDIA, "nvidia-smi-v12.xml");
    expect(accelerators).toMatchObject([
      {
        ...{ id: "GPU-00000000-0000-0000-0000-000000000001", index: 0, model: "NVIDIA A100-SXM4-80GB", serial: "1650000000001" },
        ...{ pciAddress: "0000:01:00.0", driverVersion: "535.183.06", firmwareVersion: "92.00.36.00.02" },
        ...{ memoryTotalBytes: 81_920 * MIB, partitions: ["GI 3 CI 0: 19968 MiB", "GI 4 CI 0: 19968 MiB"], experimental: true },
      },
      { index: 1, model: "NVIDIA H100 80GB HBM3", serial: undefined, pciAddress: "0000:c1:00.0", partitions: [] },
    ]);
    expect(accelerators.every(({ vendor }) => vendor === AcceleratorVendor.NVIDIA)).toBe(true);
  });

  it("tells what they do; what is not available is left out", () => {
    const { samples } = read(NVIDIA, "nvidia-smi-v12.xml");
    expect(samples[0]).toMatchObject({
      ...{ memoryUsedBytes: 50 * MIB, utilizationPercent: undefined, temperatureCelsius: 27, powerWatts: 67.03, powerLimitWatts: 500 },
      ...{ eccCorrectedErrors: 0, eccUncorrectedErrors: 0, processes: [] },
    });
    expect(samples[1]).toMatchObject({
      ...{ utilizationPercent: 97, memoryUtilizationPercent: 41, powerWatts: 655.2, eccCorrectedErrors: 4, eccUncorrectedErrors: 6 },
      processes: [{ pid: 255_872, name: "python3 & friends", memoryBytes: 33_246 * MIB }],
    });
  });

  it("is understood in the layout of older drivers", () => {
    const { accelerators, samples } = read(NVIDIA, "nvidia-smi-v11.xml");
    expect(accelerators).toMatchObject([{ model: "Tesla T4", pciAddress: "0000:00:1e.0", driverVersion: "440.33.01" }]);
    expect(samples).toMatchObject([{ powerWatts: 26.78, powerLimitWatts: 69, eccCorrectedErrors: 6, eccUncorrectedErrors: 1 }]);
  });

  it("tells how they are connected, each pair once", () => {
    const { accelerators, links } = read(NVIDIA, "nvidia-smi-v12.xml", "nvidia-smi-topo.txt");
    const [first, second] = accelerators.map(({ id }) => id);
    // The matrix has a third one, which has just gone.
    expect(links).toEqual([{ from: first, to: second, type: "NVLink", lanes: 18, raw: "NV18" }]);
  });
});

describe("npu-smi", () => {
  it("tells of each chip by two rows, with its processes", () => {
    const { accelerators, samples } = read(ASCEND, "npu-smi-info.txt");
    expect(accelerators).toMatchObject([
      { id: "0000:c1:00.0", index: 0, model: "910B3", driverVersion: "24.1.rc2", memoryTotalBytes: 65_536 * MIB },
      { id: "0000:c2:00.0", index: 1, model: "910B3" },
      { id: "0000:81:00.0", index: 2, model: "310P3", memoryTotalBytes: 21_527 * MIB },
      { id: "0000:81:00.0/1", index: 3, pciAddress: "0000:81:00.0" },
    ]);
    expect(samples).toMatchObject([
      {
        ...{ memoryUsedBytes: 60_056 * MIB, utilizationPercent: 12, temperatureCelsius: 32, powerWatts: 96.7, health: "OK" },
        processes: [{ pid: 3_329_455, name: "VLLMWorker_TP", memoryBytes: 56_683 * MIB }],
      },
      { memoryUsedBytes: 3050 * MIB, health: "Warning", processes: [] },
      { memoryUsedBytes: 1782 * MIB, utilizationPercent: 3, powerWatts: undefined, temperatureCelsius: 45 },
      { memoryUsedBytes: 1400 * MIB, temperatureCelsius: 46 },
    ]);
  });

  it("tells how they are connected", () => {
    const { links } = read(ASCEND, "npu-smi-info.txt", "npu-smi-topo.txt");
    expect(links.map(({ from, to, type, raw }) => [from, to, type, raw])).toEqual([
      ["0000:c1:00.0", "0000:c2:00.0", "HCCS", "HCCS"],
      ["0000:c1:00.0", "0000:81:00.0", "SYS", "SYS"],
      ["0000:c2:00.0", "0000:81:00.0", "PCIe", "PHB"],
    ]);
  });
});

describe("rocm-smi", () => {
  it("is read behind its warnings, with its links", () => {
    const { accelerators, samples, links } = read(ROCM, "rocm-smi.json");
    expect(accelerators).toMatchObject([
      {
        ...{ id: "0x00000000000000a1", index: 0, model: "Arcturus GL-XL [Instinct MI100]", serial: undefined, driverVersion: "6.3.6" },
        ...{ pciAddress: "0000:83:00.0", memoryTotalBytes: 34_342_961_152, numaNode: 1 },
      },
      { index: 1, model: "0x0c34", numaNode: undefined, pciAddress: "0000:a3:00.0" },
    ]);
    expect(samples).toMatchObject([
      { memoryUsedBytes: 6_750_208, utilizationPercent: 17, memoryUtilizationPercent: 4, temperatureCelsius: 53, powerWatts: 36 },
      { temperatureCelsius: 58, powerWatts: 44, powerLimitWatts: undefined },
    ]);
    expect(links).toEqual([{ from: "0x00000000000000a1", to: "0x00000000000000a2", type: "xGMI", raw: "XGMI" }]);
  });
});

describe("hy-smi", () => {
  it("is read although it leaves commas out", () => {
    const { accelerators, samples } = read(HYGON, "hy-smi.json");
    expect(accelerators).toMatchObject([
      { id: "H000001", vendor: AcceleratorVendor.HYGON, model: "K100", pciAddress: "0000:3b:00.0", memoryTotalBytes: 65_520 * MIB },
    ]);
    expect(samples).toMatchObject([
      { memoryUsedBytes: 64_169 * MIB, utilizationPercent: 37.5, memoryUtilizationPercent: 98, temperatureCelsius: 57, powerWatts: 91 },
    ]);
  });
});

describe("cnmon", () => {
  it("tells of each card by two rows", () => {
    const { accelerators, samples } = read(CAMBRICON, "cnmon-v5.txt");
    expect(accelerators).toMatchObject([
      { id: "0000:39:00.0", model: "MLU370-X8", firmwareVersion: "v1.1.6", driverVersion: "v5.10.13", memoryTotalBytes: 23_374 * MIB },
      { id: "0000:3d:00.0", index: 1 },
    ]);
    expect(samples[0]).toMatchObject({
      ...{ memoryUsedBytes: 512 * MIB, utilizationPercent: 7, temperatureCelsius: 32, powerWatts: 106, powerLimitWatts: 250 },
    });
  });

  it("is understood as it was before version 5, without addresses", () => {
    const { accelerators } = read(CAMBRICON, "cnmon-v4.txt");
    expect(accelerators).toMatchObject([{ id: "cambricon-0", pciAddress: undefined, driverVersion: "v4.20.11" }]);
  });
});

describe("what no program of a vendor writes", () => {
  it.each([NVIDIA, ASCEND, ROCM, HYGON, CAMBRICON])("is refused, or holds nothing: $vendor", (program) => {
    for (const output of ["", "Failed to initialize the driver.", "<nvidia_smi_log>", "{}", "{", "|||\n| | |\n"]) {
      let told: unknown[] = [];
      try {
        ({ told } = program.parse(output, "X X X\nGPU0"));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
      expect(told).toEqual([]);
    }
  });
});
