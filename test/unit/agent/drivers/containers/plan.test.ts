import { describe, expect, it, test } from "vitest";
import { checkPlan } from "../../../../../agent/drivers/containers/check-plan.ts";
import { type ContainerHost, containerConfig } from "../../../../../agent/drivers/containers/container-config.ts";
import { hostname, readMark } from "../../../../../agent/drivers/containers/container-mark.ts";
import { checkLimits, limitsOf } from "../../../../../agent/drivers/containers/limits.ts";
import type { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { Firmware, type InstanceSpec, InstanceType } from "../../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { containerPlan, resourceLimits } from "../../../../support/container-plan.ts";

const MIB = 1024 ** 2;
const HOST: ContainerHost = {
  info: { SwapLimit: true, PidsLimit: true, LoggingDriver: "json-file" },
  isPodman: false,
  image: "docker.io/library/nginx:latest",
  limits: limitsOf(containerPlan().spec),
  mounts: [],
  networkMode: "default",
  blockDevice: null,
};

function refusal(work: () => unknown): Pick<FleetError, "code" | "reason" | "message"> & { field: unknown } {
  try {
    work();
  } catch (error) {
    const { code, reason, message, details } = error as FleetError;
    return { code, reason, message, field: details["field"] };
  }
  throw new Error("It was not refused.");
}

describe("what a container cannot have is refused by name", () => {
  const network = { networkId: "", subnetId: "", securityGroups: [], assignPublicIp: false };
  test.each<[string, string, Partial<InstanceSpec>]>([
    ["spec.disks", "DisksUnsupported", { disks: [{ name: "root", sizeBytes: 1, type: "", boot: true }] }],
    ["spec.kernel", "KernelUnsupported", { kernel: "vmlinuz" }],
    ["spec.initrd", "KernelUnsupported", { initrd: "initrd" }],
    ["spec.kernelArgs", "KernelUnsupported", { kernelArgs: "quiet" }],
    ["spec.firmware", "FirmwareUnsupported", { firmware: Firmware.UEFI }],
    ["spec.cloudInit", "CloudInitUnsupported", { cloudInit: { userData: "", sshAuthorizedKeys: [] } }],
    ["spec.network.securityGroups", "SecurityGroupsUnsupported", { network: { ...network, securityGroups: ["web"] } }],
    ["spec.network.assignPublicIp", "PublicIpUnsupported", { network: { ...network, assignPublicIp: true } }],
    ["spec.env", "EnvInvalid", { env: { "A=B": "" } }],
    ["spec.env", "EnvInvalid", { env: { "": "x" } }],
    ["spec.env", "EnvInvalid", { env: { A: "x\0y" } }],
    ["spec.command", "CommandInvalid", { command: [""] }],
    ["spec.args", "CommandInvalid", { args: ["x\0"] }],
  ])("%s: %s", (field, reason, spec) => {
    expect(refusal(() => checkPlan(containerPlan(spec)))).toMatchObject({ code: "INVALID_ARGUMENT", field, reason });
  });

  it("refuses other types, and ids that could be options or paths", () => {
    expect(refusal(() => checkPlan(containerPlan({}, { type: InstanceType.VM })))).toMatchObject({ reason: "TypeUnsupported" });
    expect(refusal(() => checkPlan(containerPlan({}, { instanceId: "inst-../x" })))).toMatchObject({ reason: "InstanceIdInvalid" });
  });

  it("takes a plan that has none of it, and one whose firmware is what every plan's is", () => {
    expect(() => checkPlan(containerPlan({ firmware: Firmware.BIOS, env: { A: "1=2\n3", B: "" } }))).not.toThrow();
  });
});

describe("limits", () => {
  const limits = (given: Parameters<typeof resourceLimits>[0], spec: Partial<InstanceSpec> = {}) =>
    limitsOf(containerPlan({ cpuCores: 2, memoryBytes: 256 * MIB, ...spec, limits: resourceLimits(given) }).spec);

  it("are the size where nothing else is said, without swap", () => {
    expect(limits({})).toEqual({
      cpuCores: 2,
      quota: null,
      period: null,
      memoryBytes: 256 * MIB,
      swapBytes: 256 * MIB,
      readBps: 0,
      writeBps: 0,
    });
  });

  it("act where they are below the size", () => {
    expect(limits({ cpuQuota: 50_000, memoryLimit: 128 * MIB, memorySwap: 192 * MIB, ioReadBps: 1000, ioWriteBps: 2000 })).toEqual({
      cpuCores: 2,
      quota: 50_000,
      period: 100_000,
      memoryBytes: 128 * MIB,
      swapBytes: 192 * MIB,
      readBps: 1000,
      writeBps: 2000,
    });
    expect(limits({ cpuQuota: 2_000_000, cpuPeriod: 1_000_000 })).toMatchObject({ quota: 2_000_000, period: 1_000_000 });
  });

  test.each<[string, string, Parameters<typeof resourceLimits>[0]]>([
    ["LimitAboveSize", "spec.limits.cpuQuota", { cpuQuota: 200_001 }],
    ["LimitAboveSize", "spec.limits.memoryLimit", { memoryLimit: 256 * MIB + 1 }],
    ["CpuLimitInvalid", "spec.limits.cpuQuota", { cpuQuota: 999 }],
    ["CpuLimitInvalid", "spec.limits.cpuPeriod", { cpuQuota: 1000, cpuPeriod: 999 }],
    ["CpuLimitInvalid", "spec.limits.cpuPeriod", { cpuQuota: 1000, cpuPeriod: 1_000_001 }],
    ["CpuLimitInvalid", "spec.limits.cpuPeriod", { cpuPeriod: 100_000 }],
    ["MemoryInvalid", "spec.limits.memoryLimit", { memoryLimit: MIB }],
    ["SwapLimitInvalid", "spec.limits.memorySwap", { memorySwap: 255 * MIB }],
    ["LimitInvalid", "spec.limits.memorySwap", { memorySwap: -1 }],
    ["LimitInvalid", "spec.limits.ioReadBps", { ioReadBps: 0.5 }],
  ])("%s names %s", (reason, field, given) => {
    expect(refusal(() => limits(given))).toMatchObject({ code: "INVALID_ARGUMENT", reason, field });
  });

  it("are refused where this host cannot keep to them", () => {
    const host = { NCPU: 1, SwapLimit: false };
    expect(refusal(() => checkLimits(limits({}), host))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "TooManyCpus" });
    expect(refusal(() => checkLimits(limits({ memorySwap: 300 * MIB }, { cpuCores: 1 }), host))).toMatchObject({
      reason: "SwapLimitUnsupported",
      field: "spec.limits.memorySwap",
    });
    expect(() => checkLimits(limits({}, { cpuCores: 1 }), host)).not.toThrow();
  });
});

describe("a plan as the engine takes it", () => {
  it("has command for the entrypoint and args for the command, as in Kubernetes", () => {
    const both = containerConfig(containerPlan({ command: ["nginx", "-g", "daemon off;"], args: ["-v"] }), HOST);
    expect(both).toMatchObject({ Entrypoint: ["nginx", "-g", "daemon off;"], Cmd: ["-v"] });
    const neither = containerConfig(containerPlan(), HOST);
    expect(neither).not.toHaveProperty("Entrypoint");
    expect(neither).not.toHaveProperty("Cmd");
    expect(containerConfig(containerPlan({ args: ["-v"] }), HOST)).not.toHaveProperty("Entrypoint");
  });

  it("keeps the owner's labels together, under the agent's own", () => {
    const plan = containerPlan(
      {},
      { labels: { "com.docker.compose.project": "x", "fleetgraph.instance": "other" }, annotations: { a: "b" } },
    );
    const { Labels } = containerConfig(plan, HOST);
    expect(Object.keys(Labels).filter((label) => !label.startsWith("fleetgraph."))).toEqual([]);
    expect(readMark(Labels)).toEqual({ instanceId: plan.instanceId, nodeId: "node-1", generation: 1 });
    expect(JSON.parse(Labels["fleetgraph.notes"]!)).toEqual({ labels: plan.labels, annotations: plan.annotations });
  });

  it("gets no rights beyond the engine's default, and is restarted by nobody but the agent", () => {
    const { HostConfig, Tty, OpenStdin, StdinOnce } = containerConfig(containerPlan(), HOST);
    expect(HostConfig).toMatchObject({
      Privileged: false,
      SecurityOpt: ["no-new-privileges"],
      RestartPolicy: { Name: "no" },
      AutoRemove: false,
    });
    expect(HostConfig).not.toHaveProperty("CapAdd");
    expect({ Tty, OpenStdin, StdinOnce }).toEqual({ Tty: true, OpenStdin: true, StdinOnce: false });
  });

  it("has the limits, of disks too where there are any", () => {
    const limits = { ...HOST.limits, quota: 50_000, period: 100_000, readBps: 1000, writeBps: 0 };
    const { HostConfig } = containerConfig(containerPlan(), { ...HOST, limits, blockDevice: "/dev/vda" });
    expect(HostConfig).toMatchObject({
      CpuQuota: 50_000,
      CpuPeriod: 100_000,
      Memory: 64 * MIB,
      MemorySwap: 64 * MIB,
      PidsLimit: 4096,
      BlkioDeviceReadBps: [{ Path: "/dev/vda", Rate: 1000 }],
      BlkioDeviceWriteBps: [],
      LogConfig: { Type: "json-file", Config: { "max-size": "16777216" } },
    });
    expect(HostConfig).not.toHaveProperty("NanoCpus");
  });

  it("leaves out what this host's kernel and engine do not know", () => {
    const info = { SwapLimit: false, PidsLimit: false, LoggingDriver: "journald" };
    const { HostConfig } = containerConfig(containerPlan(), { ...HOST, info });
    for (const key of ["MemorySwap", "PidsLimit", "LogConfig"]) expect(HostConfig).not.toHaveProperty(key);
    expect(HostConfig).toMatchObject({ NanoCpus: 1e9 });
  });
});

test.each([
  ["web-1", "web-1"],
  ["My Web Server (blue)", "my-web-server-blue"],
  ["Übergröße", "ubergro-e"],
  ["--x--", "x"],
  ["日本", "inst-1"],
  ["", "inst-1"],
  [`${"a".repeat(62)}-b`, "a".repeat(62)],
  ["a".repeat(253), "a".repeat(63)],
])("the hostname for the name %j is %j", (name, expected) => {
  expect(hostname(name, "inst-1")).toBe(expected);
});

test("labels without an instance, or with a generation that is no number, are no mark", () => {
  expect(readMark(undefined)).toBeNull();
  expect(readMark({ a: "b" })).toBeNull();
  expect(readMark({ "fleetgraph.instance": "inst-1", "fleetgraph.generation": "x" })).toBeNull();
  expect(readMark({ "fleetgraph.instance": "inst-1" })).toBeNull();
});
