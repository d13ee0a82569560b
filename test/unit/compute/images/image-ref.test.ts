import { describe, expect, test } from "vitest";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { checkPull, type RawPull } from "../../../../subgraphs/compute/services/images/image-input.ts";
import { fullReference, imageTypeOf, withoutQuery } from "../../../../subgraphs/compute/services/images/image-ref.ts";
import { checkCredential, checkRegistry } from "../../../../subgraphs/compute/services/images/registry-input.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;

function fault(raw: RawPull): { code: string; field: unknown; message: string } {
  try {
    checkPull(raw);
  } catch (error) {
    const { code, details, message } = error as FleetError;
    return { code, field: details["field"], message };
  }
  throw new Error(`${JSON.stringify(raw)} was taken.`);
}

describe("what is to be pulled", () => {
  test.each([
    "busybox",
    "busybox:1.36",
    "library/busybox",
    "localhost/busybox",
    "localhost:5000/a/b_c/d--e:T-a.g_1",
    "registry.example.com/team/app:v1",
    `registry.example.com/team/app@${DIGEST}`,
    `registry.example.com/team/app:v1@${DIGEST}`,
    "[fd00::5]:5000/app",
  ])("takes %s as a container's image", (imageRef) => {
    expect(checkPull({ imageRef }).source).toMatchObject({ imageRef, type: "CONTAINER" });
    expect(checkPull({ imageRef, type: "CONTAINER" }).instanceType).toBe("CONTAINER");
  });

  test.each([
    "https://example.com/debian.qcow2",
    "http://10.0.0.5:8080/images/debian.img.xz",
    "https://example.com/x.qcow2?X-Amz-Signature=abc%2F",
    "file:///srv/images/debian.qcow2",
  ])("takes %s as a disk image", (imageRef) => {
    expect(checkPull({ imageRef }).source).toMatchObject({ imageRef, type: "VM" });
    expect(checkPull({ imageRef, type: "MICROVM" })).toMatchObject({ source: { type: "VM" }, instanceType: "MICROVM" });
  });

  test.each([
    ["", "imageRef"],
    ["Busybox", "imageRef"],
    ["busy box", "imageRef"],
    ["busybox\n", "imageRef"],
    ["a//b", "imageRef"],
    ["/a", "imageRef"],
    ["a:", "imageRef"],
    ["a:-tag", "imageRef"],
    [`a:${"t".repeat(129)}`, "imageRef"],
    ["-host.example/app", "imageRef"],
    ["host.example:port/app", "imageRef"],
    [`a@sha256:${"ab".repeat(31)}`, "imageRef"],
    [DIGEST, "imageRef"],
    [`x/${"a".repeat(600)}`, "imageRef"],
    ["ftp://example.com/x", "imageRef"],
    ["https://", "imageRef"],
    ["https://example.com/x#part", "imageRef"],
    ["file://host/x", "imageRef"],
    ["https://exa\tmple.com/x", "imageRef"],
    [`https://example.com/${"a".repeat(2_100)}`, "imageRef"],
  ])("refuses %j", (imageRef, field) => {
    expect(fault({ imageRef })).toMatchObject({ code: "INVALID_ARGUMENT", field });
  });

  test.each([
    ["https://ada:hunter2@example.com/x.qcow2", undefined],
    ["https://hunter2@example.com/x.qcow2", undefined],
    ["ada:hunter2@registry.example.com/app", "CONTAINER"],
    ["ada:hunter2@registry.example.com/app", undefined],
  ])("refuses the account in %s without showing it, and says where it belongs", (imageRef, type) => {
    const { code, message } = fault({ imageRef, type });
    expect(code).toBe("INVALID_ARGUMENT");
    expect(message).toContain("setRegistryCredential");
    expect(message).not.toContain("hunter2");
  });

  test("refuses a type that the reference is not of", () => {
    expect(fault({ imageRef: "busybox", type: "VM" })).toMatchObject({ field: "imageRef" });
    expect(fault({ imageRef: "https://example.com/x", type: "CONTAINER" })).toMatchObject({ field: "imageRef" });
    expect(fault({ imageRef: "busybox", type: "POD" })).toMatchObject({ field: "type" });
  });

  test("takes checksum, format and name for disk images alone, and as they are written", () => {
    const url = { imageRef: "https://example.com/x.qcow2" };
    const checksum = `SHA512:${"AB".repeat(64)}`;
    expect(checkPull({ ...url, checksum, format: "qcow2", name: "debian-12" }).source).toMatchObject({
      checksum: checksum.toLowerCase(),
      format: "QCOW2",
      name: "debian-12",
    });
    for (const part of [{ checksum: "md5:abcd" }, { checksum: `sha256:${"ab".repeat(33)}` }, { checksum: "x" }]) {
      expect(fault({ ...url, ...part })).toMatchObject({ field: "checksum" });
    }
    for (const format of ["OCI", "vmdk"]) expect(fault({ ...url, format })).toMatchObject({ field: "format" });
    for (const name of ["../x", ".hidden", "a/b", "a b", "x".repeat(201)]) expect(fault({ ...url, name })).toMatchObject({ field: "name" });
    for (const part of [{ checksum: DIGEST }, { format: "RAW" }, { name: "x" }]) {
      expect(fault({ imageRef: "busybox", ...part })).toMatchObject({ field: Object.keys(part)[0] });
    }
  });

  test("names nodes or a place, not both", () => {
    expect(checkPull({ imageRef: "busybox", nodeIds: ["n", "n"] }).nodeIds).toEqual(["n"]);
    expect(fault({ imageRef: "busybox", nodeIds: ["n"], region: "eu" })).toMatchObject({ field: "region" });
    expect(fault({ imageRef: "busybox", nodeIds: ["n"], zone: "a" })).toMatchObject({ field: "zone" });
    expect(fault({ imageRef: "busybox", nodeIds: [""] })).toMatchObject({ field: "nodeIds" });
    expect(fault({ imageRef: "busybox", nodeIds: Array.from({ length: 201 }, (_, i) => `n${i}`) })).toMatchObject({ field: "nodeIds" });
  });

  test("is shown without a URL's query, and known by its full name", () => {
    expect(withoutQuery("https://example.com/x?sig=1")).toBe("https://example.com/x");
    expect(withoutQuery("busybox")).toBe("busybox");
    expect(imageTypeOf("HTTPS://example.com/x")).toBe("VM");
    expect(fullReference("busybox")).toBe("docker.io/library/busybox:latest");
    expect(fullReference("team/app:v1")).toBe("docker.io/team/app:v1");
    expect(fullReference(`localhost/app:v1@${DIGEST}`)).toBe(`localhost/app@${DIGEST}`);
    expect(fullReference("NO IMAGE")).toBe("NO IMAGE");
  });
});

describe("an account for a registry", () => {
  test.each([
    ["Registry.Example.com", "registry.example.com"],
    ["registry:5000", "registry:5000"],
    ["[FD00::5]:5000", "[fd00::5]:5000"],
    ["index.docker.io", "docker.io"],
    ["registry-1.docker.io", "docker.io"],
  ])("is for %s, which is %s", (given, known) => {
    expect(checkRegistry("registry", given)).toBe(known);
  });

  test.each(["", "https://registry.example.com", "registry.example.com/team", "-a", "a:0", "a:123456", "a b", "ada@host", "x".repeat(300)])(
    "is refused for %j",
    (registry) => {
      expect(() => checkCredential({ registry, username: "ada", password: "p" })).toThrow(/host with or without a port/);
    },
  );

  test("needs a name without a colon, and a password of a length that can be", () => {
    const good = { registry: "r.example", username: "ada", password: "p" };
    expect(checkCredential(good)).toEqual(good);
    for (const username of ["", "a:b", "a\nb", "a".repeat(257)]) expect(() => checkCredential({ ...good, username })).toThrow();
    for (const password of ["", "p".repeat(16_385), "a\0b"]) expect(() => checkCredential({ ...good, password })).toThrow();
  });
});
