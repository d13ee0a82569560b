import { describe, expect, test } from "vitest";
import { checkSpecExtras } from "../../../../agent/drivers/libvirt/volumes/extras-check.ts";
import {
  checkPoolName,
  checkVolumeName,
  makingFile,
  readMakingFile,
  readVolumeFile,
  volumeFile,
} from "../../../../agent/drivers/libvirt/volumes/names.ts";
import { checkApart, isBelow, networkSource } from "../../../../agent/drivers/libvirt/volumes/pool-paths.ts";
import { newPoolXml, poolUuid, readPoolDescription } from "../../../../agent/drivers/libvirt/volumes/pool-xml.ts";
import { InstanceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

describe("names", () => {
  test("of files say what a volume is, and none passes for another", () => {
    expect(volumeFile({ name: "a.b", format: "raw" })).toBe("a.b.raw");
    expect(readVolumeFile("a.b.raw")).toEqual({ name: "a.b", format: "raw" });
    expect(readVolumeFile("a.raw.qcow2")).toEqual({ name: "a.raw", format: "qcow2" });
    for (const file of ["a", "a.img", ".qcow2", "../a.raw", "a/b.raw", "a..b.raw", "-a.raw", makingFile("a", "h")]) {
      expect(readVolumeFile(file), file).toBe(null);
    }
    expect(readMakingFile(makingFile("a.raw", "host"), "host")).toEqual({ name: "a.raw", own: true });
    expect(readMakingFile(makingFile("a", "host"), "other")).toEqual({ name: "a", own: false });
    expect(readMakingFile("a.making-", "host")).toBe(null);
  });

  test("that could lead anywhere are refused, whatever they are made of", () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    const pieces = ["..", "/", ".", "-", "a", "A", "0", "_", "\\", "\0", "\n", " ", "é", "%2f", "\u202e"];
    for (let round = 0; round < 2000; round++) {
      const name = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pieces[Math.floor(random() * pieces.length)]).join("");
      const isTaken = (check: (name: string) => void) => {
        try {
          check(name);
          return true;
        } catch (error) {
          expect(error, `SEED=${seed}`).toMatchObject({ code: "INVALID_ARGUMENT" });
          return false;
        }
      };
      if (isTaken(checkVolumeName)) expect(name, `SEED=${seed}`).toMatch(/^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]*$/);
      if (isTaken(checkPoolName)) expect(name, `SEED=${seed}`).toMatch(/^[A-Za-z0-9][A-Za-z0-9_-]*$/);
    }
    for (const name of ["fleetgraph-images", "Fleetgraph-x"]) expect(() => checkPoolName(name)).toThrow("agent's own");
  });
});

describe("a pool", () => {
  test("of ours is known by a mark that follows from its name, and nobody else's has it", () => {
    const made = newPoolXml({ name: "data", kind: PoolKind.DIR, path: "/srv/pools/data", source: null });
    const described = { name: "data", kind: PoolKind.DIR, nativeKind: "dir", path: "/srv/pools/data", source: "" };
    expect(readPoolDescription(made)).toMatchObject({ ...described, managed: true });
    expect(readPoolDescription(made.replace(">data<", ">other<"))).toMatchObject({ managed: false });
    expect(poolUuid("data")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("of an NFS export names server and path, and is tried once", () => {
    const xml = newPoolXml({ name: "nfs", kind: PoolKind.NETFS, path: "/srv/pools/nfs", source: networkSource("nas.example.org:/vols/a") });
    expect(readPoolDescription(xml)).toMatchObject({ kind: PoolKind.NETFS, source: "nas.example.org:/vols/a", managed: true });
    expect(xml).toContain('<fs:option name="retry=0"');
    expect(networkSource("[fd00::1]:/x")).toEqual({ server: "fd00::1", export: "/x" });
    for (const source of ["nas:x", "-h:/x", "nas:/../x", "nas:/a,rw", "nas :/x", ":/x", "nas:/x\n"]) {
      expect(() => networkSource(source), source).toThrow("no NFS export");
    }
  });

  test("of another kind is shown as such", () => {
    const xml = "<pool type='logical'><name>vg</name><uuid>u</uuid><target><path>/dev/vg</path></target></pool>";
    expect(readPoolDescription(xml)).toMatchObject({ kind: PoolKind.OTHER, nativeKind: "logical", managed: false });
  });

  test("lies apart from every other", () => {
    const others = [
      { name: "theirs", path: "/srv/a" },
      { name: "disks", path: "" },
    ];
    expect(() => checkApart("/srv/ab", others)).not.toThrow();
    for (const path of ["/srv/a", "/srv/a/b", "/srv"]) expect(() => checkApart(path, others), path).toThrow("overlaps");
    expect([isBelow("/a/b", "/a"), isBelow("/a", "/a"), isBelow("/ab", "/a"), isBelow("/a", "/")]).toEqual([true, false, false, true]);
  });
});

test("what no instance can have is refused with its field", () => {
  const refusal = (spec: Parameters<typeof InstanceSpec.fromPartial>[0]) => {
    try {
      checkSpecExtras(InstanceSpec.fromPartial(spec));
      return "fine";
    } catch (error) {
      const { reason, details } = error as { reason: string; details: { field: string } };
      return `${reason} ${details.field}`;
    }
  };
  const volume = (name: string, more = {}) => ({ name, pool: "p", volume: name, ...more });
  const many = (count: number) => Array.from({ length: count }, (_, index) => volume(`v${index}`));
  expect(refusal({ volumes: many(16), interfaces: [{ name: "n" }] })).toBe("fine");
  expect(refusal({ volumes: many(17) })).toBe("TooManyDevices spec.volumes");
  expect(refusal({ volumes: [volume("x".repeat(21))] })).toBe("DeviceNameInvalid spec.volumes[0].name");
  expect(refusal({ volumes: [volume("a"), volume("a", { volume: "b" })] })).toBe("DeviceNameTaken spec.volumes");
  expect(refusal({ volumes: [volume("a"), volume("b", { volume: "a" })] })).toBe("VolumeTwice spec.volumes");
  expect(refusal({ disks: [{ name: "a" }], volumes: [volume("a")] })).toBe("DeviceNameTaken spec.volumes[0].name");
  expect(refusal({ volumes: [volume("a", { volume: "../x" })] })).toBe("VolumeNameInvalid spec.volumes[0].volume");
  expect(refusal({ interfaces: [{ name: "n", network: { assignPublicIp: true } }] })).toBe(
    "PublicIpUnsupported spec.interfaces[0].network.assignPublicIp",
  );
  expect(refusal({ interfaces: [{ name: "n", network: { networkId: "none" } }] })).toBe(
    "NetworkInvalid spec.interfaces[0].network.networkId",
  );
});
