import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { readDisks } from "../../../../agent/hardware/disks/disks.ts";
import { readSmart } from "../../../../agent/hardware/disks/smart.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { Disk } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const run = promisify(execFile);
const host = new LocalHost();

describe("this machine's disks", () => {
  it("are what lsblk shows to people", async () => {
    const columns = "NAME,SIZE,RO,RM,ROTA,LOG-SEC,PHY-SEC,TYPE";
    const { stdout } = await run("lsblk", ["--nodeps", "--noheadings", "--bytes", "--raw", "--output", columns]);
    // What the kernel makes of memory and of the network is no disk.
    const shown = stdout
      .trim()
      .split("\n")
      .filter((line) => line.endsWith(" disk") && !/^(?:zram|ram|nbd)/.test(line));
    const { disks } = await readDisks(host, NO_USERS);
    const flags = ({ readOnly, removable, rotational }: Disk) => [readOnly, removable, rotational].map(Number);
    const read = disks.map((disk) =>
      [disk.name, disk.sizeBytes, ...flags(disk), disk.logicalBlockBytes, disk.physicalBlockBytes, "disk"].join(" "),
    );
    expect(read.sort()).toEqual(shown.sort());
  });

  it("hold this machine's own system, with the size that df shows", async () => {
    const [device = "", type] =
      (await readFile("/proc/mounts", "utf8"))
        .split("\n")
        .map((line) => line.split(" "))
        .find(([, target]) => target === "/")
        ?.filter((_, at) => at !== 1) ?? [];
    const { disks } = await readDisks(host, NO_USERS);
    const holders = disks.flatMap((disk) => [disk, ...disk.partitions].map((part) => ({ disk, part })));
    const root = holders.find(({ part }) => part.fileSystem?.mountPoints.includes("/"));
    expect(`/dev/${root?.part.name}`).toBe(device);
    expect(root?.disk.system).toBe(true);
    const bytes = (await run("df", ["--block-size=1", "--output=size", "/"])).stdout.trim().split("\n")[1]?.trim();
    expect(root?.part.fileSystem).toMatchObject({ type, totalBytes: Number(bytes) });
  });
});

describeWithPeers("smartctl", "smartctl", () => {
  it("is run, and what it cannot do is said", async () => {
    const disks = ["loop0", "no-such-disk"].map((name) => Disk.fromPartial({ name }));
    const readings = await readSmart(host, disks);
    expect([...readings.values()].map(({ smart, failure }) => [smart, failure?.reason])).toEqual([
      [undefined, "NOT_SUPPORTED"],
      [undefined, "NOT_SUPPORTED"],
    ]);
    expect(readings.get("loop0")?.failure?.message).toContain("/dev/loop0");
  });
});
