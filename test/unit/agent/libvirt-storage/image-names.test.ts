import { describe, expect, it } from "vitest";
import { candidates, parseImageReference } from "../../../../agent/drivers/libvirt/storage/image-name.ts";

const IMAGES = "/var/lib/fleetgraph/images";
const HASH = "0123456789abcdef0123456789abcdef";

describe("what an image is called", () => {
  it.each(["ubuntu-22.04", "debian 12.qcow2", "a..b", "nginx:latest", "Ünï.img", "x".repeat(255)])("a file name: %s", (name) => {
    expect(parseImageReference(name, "image", IMAGES)).toEqual({ kind: "name", name });
  });

  it("a path in the image directory is its name", () => {
    expect(parseImageReference(`${IMAGES}/linux.img`, "kernel", IMAGES)).toEqual({ kind: "name", name: "linux.img" });
    expect(parseImageReference("/images/a", "image", "/images/")).toEqual({ kind: "name", name: "a" });
  });

  it.each([
    "",
    ".",
    "..",
    ".hidden",
    "../etc/shadow",
    "a/b",
    "a\\b",
    "/etc/shadow",
    "/var/lib/fleetgraph/imagesx/a",
    IMAGES,
    `${IMAGES}/`,
    `${IMAGES}/..`,
    `${IMAGES}/../state/key`,
    `${IMAGES}/a/../../key`,
    `${IMAGES}//a`,
    `${IMAGES}/sub/a`,
    `${IMAGES}/./a`,
    "a\0b",
    "a\nb",
    "a\u0085b",
    "a\ud800b",
    "x".repeat(256),
    "ü".repeat(128),
  ])("refuses what could lead out of the directory: %j", (name) => {
    expect(() => parseImageReference(name, "image", IMAGES)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "ImageNameInvalid" }),
    );
  });

  it.each([`url-${HASH}-01234567.img`, `url-${HASH}.json`, "inst-abc.root.qcow2", `${IMAGES}/inst-abc.root.qcow2`])(
    "refuses what Fleetgraph keeps for itself: %s",
    (name) => {
      expect(() => parseImageReference(name, "image", IMAGES)).toThrow(expect.objectContaining({ reason: "ImageNameInvalid" }));
    },
  );

  it("names the field at fault, and repeats no more of it than helps", () => {
    expect(() => parseImageReference(`/${"x".repeat(5000)}`, "initrd", IMAGES)).toThrow(
      expect.objectContaining({ details: { field: "spec.initrd" }, message: expect.stringMatching(/^.{1,250}$/) }),
    );
  });

  it("a URL is one for images, and refused for kernels", () => {
    const url = "https://images.example/linux.qcow2";
    expect(parseImageReference(url, "image", IMAGES)).toEqual({ kind: "url", url });
    expect(() => parseImageReference(url, "kernel", IMAGES)).toThrow(expect.objectContaining({ reason: "ImageNameInvalid" }));
  });

  it("the name itself comes before names with an ending", () => {
    expect(candidates("ubuntu-22.04")).toEqual(["ubuntu-22.04", "ubuntu-22.04.qcow2", "ubuntu-22.04.img", "ubuntu-22.04.raw"]);
    expect(candidates("x".repeat(252))).toEqual(["x".repeat(252)]);
  });
});
