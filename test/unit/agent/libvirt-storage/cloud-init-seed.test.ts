import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { cloudInitSeed } from "../../../../agent/drivers/libvirt/storage/cloud-init-seed.ts";
import { isoImage } from "../../../../agent/drivers/libvirt/storage/iso9660.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGfF me@here";
const INVALID = expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "CloudInitInvalid" });
const SECTOR = 2048;

function seedOf({ name = "web", userData = "", sshAuthorizedKeys = [] as string[] }): Buffer {
  return cloudInitSeed("inst-abc", name, { userData, sshAuthorizedKeys });
}

/** Files follow the directories, each in sectors of its own, in the order of their names. */
function filesOf(seed: Buffer): { metaData: Record<string, unknown>; userData: string } {
  const text = seed.subarray(25 * SECTOR).toString("utf8");
  const [metaData = "", userData = ""] = text.split(/\0+/);
  return { metaData: parse(metaData) as Record<string, unknown>, userData };
}

describe("a cloud-init seed", () => {
  it("tells the instance's id, its host name and its keys", () => {
    const { metaData, userData } = filesOf(
      seedOf({ userData: "#cloud-config\npackages: [nginx]\n", sshAuthorizedKeys: [KEY, `${KEY} \n`] }),
    );
    expect(metaData).toEqual({ "instance-id": "inst-abc", "local-hostname": "web", "public-keys": [KEY, KEY] });
    expect(userData).toBe("#cloud-config\npackages: [nginx]\n");
  });

  it("has user data even where none was given: without the file, the disk is no seed", () => {
    expect(filesOf(seedOf({})).userData).toMatch(/^#cloud-config\n/);
  });

  it.each([
    ["web 1.example", "web-1.example"],
    ["-Ünï--", "n"],
    ["日本", "inst-abc"],
    ["10.0.0.1", "inst-abc"],
    [`${"a".repeat(80)}.b`, `${"a".repeat(63)}.b`],
    ["a\nruncmd: [reboot]", "a-runcmd-reboot"],
  ])("makes of the name %j the host name %s", (name, host) => {
    expect(filesOf(seedOf({ name })).metaData["local-hostname"]).toBe(host);
  });

  it("is the same each time", () => {
    expect(seedOf({ userData: "#!/bin/sh\n" }).equals(seedOf({ userData: "#!/bin/sh\n" }))).toBe(true);
    expect(seedOf({ userData: "#!/bin/sh\n" }).equals(seedOf({ userData: "#!/bin/sh\n\n" }))).toBe(false);
  });

  it.each([
    "#cloud-config\n",
    "#!/bin/sh",
    "#cloud-boothook\n",
    "#include\nhttps://x",
    "Content-Type: multipart/mixed",
    "## template: jinja\n#cloud-config",
  ])("takes user data that begins %j", (userData) => {
    expect(filesOf(seedOf({ userData })).userData).toBe(userData);
  });

  it.each(["packages: [nginx]", "\ufeff#cloud-config\n", " #cloud-config", `#!${"x".repeat(65_535)}`])(
    "refuses user data that cloud-init would not take (%#)",
    (userData) => {
      expect(() => seedOf({ userData })).toThrow(INVALID);
    },
  );

  it.each([
    "",
    "me",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    `${KEY}\nssh-rsa AAAA`,
    'command="x" ssh-rsa AAAA',
    `ssh-rsa ${"A".repeat(20_000)}`,
  ])("refuses what is no public key (%#), without repeating it", (key) => {
    expect(() => seedOf({ sshAuthorizedKeys: [key] })).toThrow(INVALID);
    expect(() => seedOf({ sshAuthorizedKeys: [key] })).not.toThrow(/BEGIN/);
  });
});

describe("an ISO 9660 image", () => {
  it("says how large it is, and where its files are", () => {
    const image = isoImage("cidata", [{ name: "a", content: Buffer.alloc(SECTOR + 1, 1) }]);
    expect(image.length).toBe(177 * SECTOR);
    expect(image.readUInt32LE(16 * SECTOR + 80)).toBe(177);
    expect(image.readUInt32BE(17 * SECTOR + 84)).toBe(177);
  });

  it("takes no names that a reader would see otherwise, and no more files than its directory holds", () => {
    const content = Buffer.of(1);
    for (const name of ["", "A", "a/b", "a b", "x".repeat(28)]) expect(() => isoImage("cidata", [{ name, content }])).toThrow(RangeError);
    const many = Array.from({ length: 13 }, (_, index) => ({ name: `f${index}`, content }));
    expect(() => isoImage("cidata", many)).toThrow(RangeError);
    expect(() => isoImage("ci data", [])).toThrow(RangeError);
  });
});
