import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import os from "node:os";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { readHostFacts } from "../../../../agent/hardware/host-facts.ts";
import { readInventory } from "../../../../agent/hardware/inventory.ts";
import { readPci } from "../../../../agent/hardware/pci/pci.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { expectAsLspci, LSPCI } from "../../../support/lspci.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const run = promisify(execFile);
const host = new LocalHost();

describeWithPeers("this machine's devices", "pciutils", () => {
  it("are those of lspci, with their names", async () => {
    const { devices } = await readPci(host, NO_USERS);
    expectAsLspci(devices, (await run("lspci", LSPCI)).stdout, { subsystems: true });
  });

  it("that hold the root file system and the default route stay with the host", async () => {
    const { devices } = await readPci(host, NO_USERS);
    const behind = async (path: string) => {
      const { stdout } = await run("readlink", ["-f", path]);
      return devices.filter(({ address }) => stdout.split("/").includes(address));
    };
    const number = (await run("stat", ["-c", "%Hd:%Ld", "/"])).stdout.trim();
    const route = (await readFile("/proc/net/route", "utf8")).split("\n")[1]?.split("\t")[0];
    for (const disk of await behind(`/sys/dev/block/${number}`)) expect(disk.passthrough?.possible).toBe(false);
    const adapters = route ? await behind(`/sys/class/net/${route}`) : [];
    for (const adapter of adapters) expect(adapter.passthrough?.possible).toBe(false);
  });
});

it("this machine is what uname, os-release and lscpu say", async () => {
  const facts = await readHostFacts(host, null);
  expect(facts).toMatchObject({ kernel: os.release(), architecture: os.machine() });
  expect(Math.abs((facts.bootedAt?.getTime() ?? 0) - (Date.now() - os.uptime() * 1000))).toBeLessThan(5000);
  expect((await run("sh", ["-c", '. /etc/os-release; printf %s "$PRETTY_NAME"'])).stdout).toBe(facts.operatingSystem);
  const { vulnerabilities } = (await readInventory(host)).hardware;
  const { stdout } = await run("lscpu", [], { env: { ...process.env, LC_ALL: "C" } });
  // lscpu writes other marks between the words.
  const words = (text: string) => text.replace(/[:;]/g, "").replace(/ +/g, " ");
  for (const { status } of vulnerabilities) expect(words(stdout)).toContain(words(status));
  expect(vulnerabilities.length).toBe(stdout.split("\n").filter((line) => /^\s*Vulnerability /.test(line)).length);
});
