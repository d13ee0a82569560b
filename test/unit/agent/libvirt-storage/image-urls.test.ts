import { describe, expect, it } from "vitest";
import { isForbidden } from "../../../../agent/drivers/libvirt/storage/fetch/forbidden-addresses.ts";
import { ImageUrlRules, withoutSecrets } from "../../../../agent/drivers/libvirt/storage/fetch/image-url.ts";

const anywhere = new ImageUrlRules([]);
const listed = new ImageUrlRules(["https://images.example/public", "http://127.0.0.1:8080/", "http://[fd00::1]/a/"]);

const INVALID = expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "ImageUrlInvalid" });
const NOT_ALLOWED = expect.objectContaining({ code: "FAILED_PRECONDITION", reason: "ImageUrlNotAllowed" });

describe("URLs of images, where the host lists no prefixes", () => {
  it.each(["https://images.example/a.qcow2", "http://10.0.0.5/a", "http://192.168.1.1:8000/a?x=1", "http://[fd00::1]/a"])(
    "allows %s",
    (url) => {
      expect(anywhere.check(url)).toMatchObject({ trusted: false });
    },
  );

  it.each([
    "http://127.0.0.1/a",
    "http://127.1/a",
    "http://2130706433/a",
    "http://0x7f.0.0.1/a",
    "http://0/a",
    "http://[::1]/a",
    "http://[::]/a",
    "http://[::ffff:127.0.0.1]/a",
    "http://[64:ff9b::7f00:1]/a",
    "http://[64:ff9b::169.254.169.254]/a",
    "http://169.254.169.254/latest/meta-data",
    "http://[fd00:ec2::254]/latest",
    "http://[fe80::1]/a",
    "http://100.100.100.200/a",
    "http://168.63.129.16/a",
    "http://224.0.0.1/a",
    "http://255.255.255.255/a",
  ])("refuses the host's own, its link's and clouds' addresses: %s", (url) => {
    expect(() => anywhere.check(url)).toThrow(NOT_ALLOWED);
  });

  it.each([
    "ftp://images.example/a",
    "file://host/etc/shadow",
    "https://",
    "https://user:secret@images.example/a",
    `https://x.example/${"a".repeat(2100)}`,
  ])("refuses what is no URL to fetch from: %s", (url) => {
    expect(() => anywhere.check(url)).toThrow(INVALID);
  });

  it.each([
    "https://x.example/a/..%2fb",
    "https://x.example/a/..%5cb",
    "https://x.example/%2e%2e%2fb",
    "https://x.example/a/.%2fb",
    "https://x.example/%zz",
  ])("refuses a path that hides where it leads: %s", (url) => {
    expect(() => anywhere.check(url)).toThrow(INVALID);
  });

  it("forgets what stands behind #, and shows no query", () => {
    const { url } = anywhere.check("https://images.example/a?signature=secret#b");
    expect(url.href).toBe("https://images.example/a?signature=secret");
    expect(withoutSecrets(url)).toBe("https://images.example/a");
  });
});

describe("URLs of images, where the host lists prefixes", () => {
  it.each([
    "https://images.example/public",
    "https://images.example/public/a",
    "https://images.example:443/public/a/b?c",
    "http://127.0.0.1:8080/x",
    "http://[fd00::1]/a/b",
  ])("allows %s, to whatever address it leads", (url) => {
    expect(listed.check(url)).toMatchObject({ trusted: true });
  });

  it.each([
    "https://images.example/publicity/a",
    "https://images.example/private/a",
    "https://images.example/public/../private/a",
    "https://images.example/public/%2e%2e/private/a",
    "http://images.example/public/a",
    "https://images.example:444/public/a",
    "https://images.example.evil.example/public/a",
    "http://127.0.0.1/x",
    "https://other.example/",
  ])("refuses %s", (url) => {
    expect(() => listed.check(url)).toThrow(NOT_ALLOWED);
  });

  it.each(["not a url", "ftp://x.example/", "https://user@x.example/"])("does not take the prefix %s", (prefix) => {
    expect(() => new ImageUrlRules([prefix])).toThrow(INVALID);
  });
});

describe("redirects", () => {
  const from = new URL("https://images.example/public/a");

  it("lead where a URL might have led in the first place", () => {
    expect(anywhere.checkRedirect(from, "/b?c").url.href).toBe("https://images.example/b?c");
    expect(anywhere.checkRedirect(from, "https://mirror.example/b").url.href).toBe("https://mirror.example/b");
    expect(listed.checkRedirect(from, "b").trusted).toBe(true);
  });

  it("do not lead to the host, out of the prefixes, or out of encryption", () => {
    expect(() => anywhere.checkRedirect(new URL("http://x.example/"), "http://169.254.169.254/")).toThrow(NOT_ALLOWED);
    expect(() => listed.checkRedirect(from, "https://mirror.example/b")).toThrow(NOT_ALLOWED);
    expect(() => anywhere.checkRedirect(from, "http://images.example/b")).toThrow(NOT_ALLOWED);
    expect(() => anywhere.checkRedirect(from, "file:///etc/passwd")).toThrow();
    expect(() => anywhere.checkRedirect(from, "http://[")).toThrow(INVALID);
  });
});

describe("addresses that names lead to", () => {
  it.each(["10.1.2.3", "172.16.0.1", "192.168.0.1", "8.8.8.8", "2606:4700::1111", "fd12::1", "64:ff9b::808:808", "64:ff9b::10.0.0.1"])(
    "%s is allowed",
    (address) => {
      expect(isForbidden(address)).toBe(false);
    },
  );

  it.each([
    "127.0.0.53",
    "::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "2001:0:1::",
    "ff02::1",
    "64:ff9b::",
    "0.0.0.0",
    "not an address",
  ])("%s is not", (address) => {
    expect(isForbidden(address)).toBe(true);
  });
});

describe("files of the host as images", () => {
  const folders = new ImageUrlRules(["file:///srv/images/", "https://images.example/"]);

  it("are taken only where the host names their folder", () => {
    expect(folders.check("file:///srv/images/a.qcow2").url.pathname).toBe("/srv/images/a.qcow2");
    expect(folders.folders.map(({ href }) => href)).toEqual(["file:///srv/images/"]);
    for (const url of ["file:///etc/shadow", "file:///srv/images2/a", "file:///srv/images/../../etc/shadow"]) {
      expect(() => folders.check(url), url).toThrow(NOT_ALLOWED);
    }
    expect(() => anywhere.check("file:///srv/images/a")).toThrow(NOT_ALLOWED);
    expect(() => listed.check("file:///srv/images/a")).toThrow(NOT_ALLOWED);
    expect(() => folders.check("file:///srv/images/..%2f..%2fetc/shadow")).toThrow(INVALID);
  });

  it("are nothing that a server could lead to", () => {
    const { url } = folders.check("https://images.example/a");
    expect(() => folders.checkRedirect(url, "file:///srv/images/a.qcow2")).toThrow(NOT_ALLOWED);
  });
});
