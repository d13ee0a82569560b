import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { anonymous } from "../../../../agent/host/capture/anonymous.ts";
import { CapturedHost } from "../../../../agent/host/capture/captured-host.ts";
import { fetchCapture, scriptsBy } from "../../../../agent/host/capture/fetch.ts";
import { type Capture, parseCapture, writeCapture } from "../../../../agent/host/capture/format.ts";
import { askedFor, literalPath, shellPattern } from "../../../../agent/host/capture/globs.ts";
import { captureScript } from "../../../../agent/host/capture/script.ts";
import { LocalHost } from "../../../../agent/host/local.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "fleetgraph-tree-"));
  for (const device of ["0000:00:01.0", "0000:00:1f.2"]) {
    await mkdir(join(root, "devices", device, "net"), { recursive: true });
    await writeFile(join(root, "devices", device, "vendor"), `0x${device.slice(5, 7)}\n`);
  }
  await symlink("../../drivers/it's", join(root, "devices/0000:00:01.0/driver"));
  await writeFile(join(root, "lines"), `first\n\n${root}/lines:third\n==> four <==`);
  await writeFile(join(root, "empty"), "");
  await mkdir(join(root, "a folder"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function needs() {
  const command = (script: string) => ({ program: "sh", args: ["-c", script] });
  const files = ["lines", "empty", "nothing", "devices/*/vendor", "devices/*/driver", "devices/*/net", "a folder", "wrong[/x"];
  const commands = [command("printf 'no end'; echo why >&2; exit 7"), { program: "no-such-program", args: [], privileged: true }];
  return { paths: files.map((file) => join(root, file)), commands };
}

describe("what is fetched of a host at once", () => {
  it.each([["sh"], ["bash"], ["busybox", "sh"]])("is the same by %s", async (program, ...args) => {
    const input = captureScript(needs());
    const capture = parseCapture(`Welcome!\n${execFileSync(program, args, { input, encoding: "utf8", stdio: "pipe" })}`);
    const host = new CapturedHost(capture);
    expect(await host.list(join(root, "devices"))).toEqual(["0000:00:01.0", "0000:00:1f.2"]);
    expect(await host.read(join(root, "devices/0000:00:1f.2/vendor"))).toBe("0x00\n");
    expect(await host.readLink(join(root, "devices/0000:00:01.0/driver"))).toBe("../../drivers/it's");
    expect(await host.list(join(root, "devices/0000:00:01.0/net"))).toEqual([]);
    expect(await host.list(join(root, "a folder"))).toEqual([]);
    expect(await host.read(join(root, "lines"))).toBe(`first\n\n${root}/lines:third\n==> four <==\n`);
    expect(await host.read(join(root, "empty"))).toBe("");
    expect(await host.exec(needs().commands[0]!)).toEqual({ exitCode: 7, stdout: "no end", stderr: "why" });
    const reasons: Array<[() => Promise<unknown>, string]> = [
      [() => host.read(join(root, "nothing")), "NOT_PRESENT"],
      [() => host.read(join(root, "devices/0000:00:02.0/vendor")), "NOT_PRESENT"],
      [() => host.readLink(join(root, "lines")), "NOT_SUPPORTED"],
      [() => host.list(join(root, "lines")), "NOT_PRESENT"],
      [() => host.read(join(root, "other")), "UNREADABLE"],
      [() => host.exec(needs().commands[1]!), "NOT_INSTALLED"],
      [() => host.exec({ program: "ip", args: [] }), "UNREADABLE"],
    ];
    for (const [read, reason] of reasons) await expect(read()).rejects.toMatchObject({ reason });
    expect(parseCapture(writeCapture(capture, "b0"))).toEqual({ ...capture, entries: new Map(sorted(capture)) });
  });

  it("is refused when it is cut off, or is something else", async () => {
    const text = writeCapture(await fetchCapture(scriptsBy(new LocalHost()), needs()), "b0");
    expect(() => parseCapture(text.slice(0, -10))).toThrow(expect.objectContaining({ reason: "UNREADABLE" }));
    expect(() => parseCapture("sh: not found", "nologin")).toThrow(
      expect.objectContaining({ message: expect.stringContaining("nologin") }),
    );
  });
});

function sorted({ entries }: Capture) {
  return [...entries].sort(([one], [other]) => (one < other ? -1 : 1));
}

describe("a pattern", () => {
  it("is quoted for a shell but for its wildcards", () => {
    expect(shellPattern("/sys/cpu[0-9]*/it's; $(x)?")).toBe(`'/sys/cpu'[0-9]*'/it'\\''s; $(x)'?`);
    expect(shellPattern(literalPath("/a*[b]"))).toBe(`'/a'[*][[]'b]'`);
    expect(() => shellPattern("relative")).toThrow(/absolute/);
    expect(() => shellPattern("/a\nb")).toThrow();
  });

  it("covers what it matches, and the folders on the way there", () => {
    const covers = askedFor(["/sys/bus/*/devices/[0-9]?.0/vendor"]);
    const asked = ["/sys/bus", "/sys/bus/pci", "/sys/bus/pci/devices", "/sys/bus/pci/devices/1f.0", "/sys/bus/pci/devices/1f.0/vendor"];
    expect(asked.map(covers)).toEqual(asked.map(() => true));
    const others = ["/sys/bus/pci/devices/ff.0", "/sys/bus/pci/drivers", "/sys/bus/pci/x/devices", "/sys/bus/pci/devices/1fx0"];
    expect(others.map(covers)).toEqual(others.map(() => false));
  });
});

const MOUNTS = [
  "24 27 0:6 / /dev/shm rw,relatime - tmpfs tmpfs rw\n",
  "28 27 0:25 / /srv/job-4711 rw - overlay overlay rw\n",
  "29 27 8:1 / /data rw - ext4 /dev/sda1 rw\n",
];

describe("an anonymous capture", () => {
  it("keeps what belongs together, and nothing that tells the machine", () => {
    const entries = new Map([
      ["/sys/block/sda/device/serial", { content: "WD-1234\n" }],
      ["/dev/disk/by-id/ata-WD-1234", { link: "../../sda" }],
      ["/sys/class/net/eth0/address", { content: "52:54:00:f1:ee:01\n" }],
      ["/sys/bus/usb/devices/usb1/serial", { content: "0000:04:00.0\n" }],
      ["/sys/bus/pci/devices/0000:04:00.0", { names: ["vendor"] }],
      ["/proc/self/mountinfo", { content: `${MOUNTS[0]}${MOUNTS[1]}${MOUNTS[2]}` }],
      ["/proc/net/route", { content: "eth0\t00000000\t0102A8C0\n" }],
    ]);
    const command = { program: "ip", args: ["-j"], privileged: false };
    const stdout =
      '[{"address":"52:54:00:f1:ee:01","local":"10.1.2.3","label":"eth0"},{"local":"fe80::5054:ff:fe12:3456"},{"local":"::1"}]';
    const commands = new Map([["ip", { command, exitCode: 0, stdout, stderr: "" }]]);
    const made = anonymous({ architecture: "x86_64", paths: [], entries, commands }, "db-7");
    expect(Object.fromEntries(made.entries)).toEqual({
      "/sys/block/sda/device/serial": { content: "HIDDEN1\n" },
      "/dev/disk/by-id/ata-HIDDEN1": { link: "../../sda" },
      "/sys/class/net/eth0/address": { content: "02:00:00:00:00:01\n" },
      "/sys/bus/usb/devices/usb1/serial": { content: "0000:04:00.0\n" },
      "/sys/bus/pci/devices/0000:04:00.0": { names: ["vendor"] },
      "/proc/self/mountinfo": { content: `${MOUNTS[0]}${MOUNTS[2]}` },
      "/proc/net/route": { content: "eth0\t00000000\t00000001\n" },
    });
    expect(made.commands.get("ip")?.stdout).toBe(
      '[{"address":"02:00:00:00:00:01","local":"192.0.2.1","label":"eth0"},{"local":"fe80::1"},{"local":"::1"}]',
    );
  });
});
