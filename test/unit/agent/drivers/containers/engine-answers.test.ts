import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { engineText, hostProblem, unreachable } from "../../../../../agent/drivers/containers/abilities.ts";
import { ContainerNotesFile } from "../../../../../agent/drivers/containers/container-notes.ts";
import { dockerReading } from "../../../../../agent/drivers/containers/container-samples.ts";
import { EngineRefusal, engineError } from "../../../../../agent/drivers/containers/engine-errors.ts";
import { PullSum } from "../../../../../agent/drivers/containers/image-pulls.ts";
import { jsonLines } from "../../../../../agent/drivers/containers/json-lines.ts";
import { PROBE_EXIT_CODE, PROBE_PATH, probeArchive } from "../../../../../agent/drivers/containers/probe-image.ts";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";

const run = promisify(execFile);

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fleetgraph-containers-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("a stream of JSON objects", () => {
  async function read(...chunks: Array<string | Uint8Array>): Promise<unknown[]> {
    async function* stream() {
      for (const chunk of chunks) yield Buffer.from(chunk);
    }
    const objects: unknown[] = [];
    for await (const object of jsonLines(stream())) objects.push(object);
    return objects;
  }

  it("is read in whatever pieces it comes", async () => {
    const text = Buffer.from('{"a":"ä€😀"}\r\n\n{"b":2}\n{"c":3}');
    const whole = await read(text);
    expect(whole).toEqual([{ a: "ä€😀" }, { b: 2 }, { c: 3 }]);
    for (let at = 0; at <= text.length; at += 1) expect(await read(text.subarray(0, at), text.subarray(at))).toEqual(whole);
    expect(await read(...[...text].map((byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  it("ends with an error where it is none, or a line has no end", async () => {
    await expect(read("<html>\n")).rejects.toThrow("no JSON");
    await expect(read('{"a":')).rejects.toThrow("no JSON");
    await expect(read(...new Array<string>(20).fill("x".repeat(100_000)))).rejects.toThrow("more than");
  });
});

test("progress is the sum over an image's layers, and unpacking them does not count again", () => {
  const sum = new PullSum();
  const layer = (id: string, status: string, current?: number, total?: number) =>
    sum.add({ id, status, progressDetail: { current, total } });
  expect(layer("a", "Pulling fs layer")).toEqual({ received: 0, total: 0 });
  expect(layer("a", "Downloading", 10, 100)).toEqual({ received: 10, total: 100 });
  expect(layer("b", "Downloading", 100, 300)).toEqual({ received: 110, total: 400 });
  expect(layer("a", "Download complete")).toEqual({ received: 200, total: 400 });
  expect(layer("a", "Extracting", 1, 100)).toEqual({ received: 200, total: 400 });
  expect(sum.add({ status: "Digest: sha256:0", progressDetail: null })).toEqual({ received: 200, total: 400 });
});

describe("Docker's statistics", () => {
  it("are summed over interfaces and disks, on cgroup v1 and v2", () => {
    const networks = { eth0: { rx_bytes: 1, tx_bytes: 10 }, eth1: { rx_bytes: 2, tx_bytes: 20 } };
    const entries = (read: string, write: string) => [
      { op: read, value: 100 },
      { op: write, value: 7 },
      { op: read, value: 200 },
      { op: "Total", value: 307 },
    ];
    const expected = {
      cpuTimeNs: 5,
      memoryUsageBytes: 1000,
      memoryCacheBytes: 30,
      diskReadBytes: 300,
      diskWriteBytes: 7,
      networkRxBytes: 3,
      networkTxBytes: 30,
    };
    const cpu_stats = { cpu_usage: { total_usage: 5 } };
    const v1 = { usage: 1000, stats: { cache: 29, total_cache: 30 } };
    const v2 = { usage: 1000, stats: { file: 30 } };
    expect(
      dockerReading({ cpu_stats, networks, memory_stats: v1, blkio_stats: { io_service_bytes_recursive: entries("Read", "Write") } }),
    ).toEqual(expected);
    expect(
      dockerReading({ cpu_stats, networks, memory_stats: v2, blkio_stats: { io_service_bytes_recursive: entries("read", "write") } }),
    ).toEqual(expected);
  });

  it("are none of a container that does not run", () => {
    expect(dockerReading({ cpu_stats: { cpu_usage: { total_usage: 0 } }, memory_stats: {} })).toBeNull();
    expect(dockerReading({})).toBeNull();
  });
});

describe("an engine", () => {
  const podman = {
    Version: "4.3.1",
    Components: [
      { Name: "Podman Engine", Version: "4.3.1" },
      { Name: "OCI Runtime (runc)", Version: "runc version 1.1.5+ds1\ncommit: 1.1.5" },
    ],
  };
  const docker = {
    Version: "20.10.24",
    Components: [
      { Name: "Engine", Version: "20.10.24" },
      { Name: "runc", Version: "1.1.5" },
    ],
  };
  const info = {
    OSType: "linux",
    NCPU: 2,
    DockerRootDir: "/",
    CpuCfsQuota: true,
    MemoryLimit: true,
    SwapLimit: true,
    PidsLimit: true,
    LoggingDriver: "",
    DefaultRuntime: "runc",
    CgroupVersion: "1",
  };

  it("is told by its name and its runtime's", () => {
    expect(engineText(true, podman, info)).toBe("podman 4.3.1, runc 1.1.5");
    expect(engineText(false, docker, info)).toBe("docker 20.10.24, runc 1.1.5");
    expect(engineText(false, { Version: "9" }, { ...info, DefaultRuntime: "crun" })).toBe("docker 9, crun");
  });

  it("that cannot limit what containers use runs none", () => {
    expect(hostProblem(info)).toBeNull();
    expect(hostProblem({ ...info, MemoryLimit: false })).toMatchObject({
      reason: "LimitsUnsupported",
      message: expect.stringContaining("memory"),
    });
    expect(hostProblem({ ...info, OSType: "windows" })).toMatchObject({ reason: "OsUnsupported" });
  });

  it("that is not reached says whether it has to be installed, started, or made accessible", () => {
    const because = (code: string) => new FleetError("UNAVAILABLE", "x", { cause: Object.assign(new Error(code), { code }) });
    expect(unreachable(because("ENOENT"), "/run/x.sock")).toMatchObject({
      reason: "NoDriver",
      message: expect.stringContaining("podman.socket"),
    });
    expect(unreachable(because("EACCES"), "/run/x.sock")).toMatchObject({
      reason: "DriverUnreachable",
      message: expect.stringContaining("group"),
    });
    expect(unreachable(because("ECONNREFUSED"), "/run/x.sock")).toMatchObject({ reason: "DriverUnreachable" });
    expect(unreachable(null, "/run/x.sock")).toMatchObject({ reason: "DriverUnreachable" });
    expect(unreachable(new EngineRefusal(500, "no events"), "/run/x.sock")).toMatchObject({ reason: "EventsUnavailable" });
  });

  test.each([
    [500, "write /x: no space left on device", "FAILED_PRECONDITION", "NoSpace"],
    [500, "containerd.sock: connection refused: unavailable containerd: connection refused", "UNAVAILABLE", "EngineBusy"],
    [409, "it is so", "FAILED_PRECONDITION", "EngineRefused"],
  ])("that says %i %s: %s", (status, message, code, reason) => {
    expect(engineError(new EngineRefusal(status, message), "do it")).toMatchObject({
      code,
      reason,
      message: expect.stringContaining(message),
    });
  });

  it("whose message has a password in it is quoted without that", () => {
    expect(new EngineRefusal(500, "Get https://joe:hunter2@example.org/v2/: denied").message).not.toContain("hunter2");
  });
});

describe("the program of the probe", () => {
  it("is an archive that tar reads, with a program that this machine runs", async () => {
    const archive = probeArchive(process.arch);
    expect(archive).not.toBeNull();
    await writeFile(join(dir, "probe.tar"), archive!);
    await run("tar", ["-xf", "probe.tar"], { cwd: dir });
    await expect(run(join(dir, PROBE_PATH))).rejects.toMatchObject({ code: PROBE_EXIT_CODE });
  });

  it("is not there for machines that nobody wrote it for", () => {
    expect(probeArchive("riscv64")).toBeNull();
    expect(probeArchive("arm64")).not.toBeNull();
  });
});

describe("what cannot be put onto a container", () => {
  const note = { mark: { instanceId: "inst-1", nodeId: "node-1", generation: 1 }, limits: null };

  it("is kept in a file", async () => {
    const path = join(dir, "notes.json");
    const notes = await ContainerNotesFile.open(path);
    await Promise.all([notes.set("a", note), notes.set("b", { ...note, mark: null }), notes.delete("nothing")]);
    await notes.delete("b");
    expect((await ContainerNotesFile.open(path)).all).toEqual(new Map([["a", note]]));
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ version: 1 });
  });

  it("is not guessed from a damaged file", async () => {
    const path = join(dir, "damaged.json");
    await writeFile(path, '{"version":1,"containers":{"a":{}}}');
    await expect(ContainerNotesFile.open(path)).rejects.toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
  });
});
