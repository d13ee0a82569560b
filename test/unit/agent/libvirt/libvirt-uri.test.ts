import { describe, expect, test } from "vitest";
import { parseLibvirtUri, type SshWay } from "../../../../agent/libvirt/transport/libvirt-uri.ts";
import { sshArguments } from "../../../../agent/libvirt/transport/ssh.ts";

const SYSTEM = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];

describe("a libvirt URI", () => {
  test.each([
    ["qemu:///system", "qemu:///system", SYSTEM],
    ["qemu+unix:///system", "qemu:///system", SYSTEM],
    ["qemu+unix:///system?socket=/a%20b/sock", "qemu:///system", ["/a b/sock"]],
    ["test:///default", "test:///default", SYSTEM],
    ["test:///etc/fleet.xml", "test:///etc/fleet.xml", SYSTEM],
    ["test+unix:///default?socket=/s", "test:///default", ["/s"]],
  ])("%s opens %s", (uri, openName, socketPaths) => {
    expect(parseLibvirtUri(uri)).toEqual({ openName, way: { kind: "unix", socketPaths } });
  });

  test("of the user's own daemon leads to where the user has its sockets", () => {
    const sessionDirectory = "/run/user/1000/libvirt";
    expect(parseLibvirtUri("qemu:///session", { sessionDirectory })).toEqual({
      openName: "qemu:///session",
      way: { kind: "unix", socketPaths: ["/run/user/1000/libvirt/libvirt-sock", "/run/user/1000/libvirt/virtqemud-sock"] },
    });
  });

  test("leads to the socket that is given besides", () => {
    expect(parseLibvirtUri("qemu:///system", { socketPath: "/s" }).way).toEqual({ kind: "unix", socketPaths: ["/s"] });
  });

  test("over ssh names host, port, user and files", () => {
    expect(parseLibvirtUri("qemu+ssh://fleet@host-1:2222/system?keyfile=/k&known_hosts=/h&socket=/s")).toEqual({
      openName: "qemu:///system",
      way: { kind: "ssh", host: "host-1", port: 2222, user: "fleet", socketPath: "/s", identityFile: "/k", knownHostsFile: "/h" },
    });
    expect(parseLibvirtUri("qemu+ssh://[fe80::1]/system").way).toMatchObject({ host: "fe80::1", port: null, user: null, socketPath: null });
  });

  test.each([
    ["", /no libvirt URI/],
    ["/run/libvirt/libvirt-sock", /no libvirt URI/],
    ["qemu:system", /no libvirt URI/],
    ["qemu://", /no libvirt URI/],
    ["qemu+ssh:///system", /no libvirt URI/],
    ["qemu+ssh://-oProxyCommand=x/system", /no libvirt URI/],
    ["qemu://host/system", /qemu\+ssh:\/\/host\/system/],
    ["qemu+tls://host/system", /not over tls/],
    ["qemu+ssh://root:secret@host/system", /no password/],
    ["qemu:///system?no_verify=1", /"no_verify".*there are socket/],
    ["qemu+ssh://host/system?no_verify=1", /"no_verify".*there are socket, keyfile, known_hosts/],
    ["qemu:///system?socket=relative", /absolute path/],
    ["qemu:///session", /socket=PATH/],
  ])("%j is refused, with what to write instead", (uri, message) => {
    expect(() => parseLibvirtUri(uri)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) }),
    );
  });
});

describe("ssh", () => {
  const way = (uri: string) => parseLibvirtUri(uri).way as SshWay;

  test("is asked for a key and a known host, and never for a password", () => {
    const given = sshArguments(way("qemu+ssh://fleet@host-1:2222/system?keyfile=/k"), "qemu:///system", { knownHostsFile: "/a b/h%" });
    expect(given.join(" ")).toContain("-o BatchMode=yes -o StrictHostKeyChecking=yes");
    expect(given).toContain('IdentityFile="/k"');
    expect(given).toContain('UserKnownHostsFile="/a b/h%%"');
    expect(given.slice(given.indexOf("-p"), -1)).toEqual(["-p", "2222", "-l", "fleet", "--", "host-1"]);
  });

  test("takes settings that come before its own, except the ones that keep it safe", () => {
    const given = sshArguments(way("qemu+ssh://host/system"), "qemu:///system", { options: ["ConnectTimeout=1", "BatchMode=no"] });
    expect(given.indexOf("ConnectTimeout=1")).toBeLessThan(given.indexOf("ConnectTimeout=10"));
    expect(given.indexOf("BatchMode=yes")).toBeLessThan(given.indexOf("BatchMode=no"));
  });

  test("hands a socket's path to the other shell as one word", () => {
    const given = sshArguments(way("qemu+ssh://host/system?socket=/a'%3B reboot"), "qemu:///system");
    expect(given.at(-1)).toBe(`exec nc -U '/a'\\''; reboot'`);
  });

  test("takes no path that would end its own setting", () => {
    const options = { identityFile: '/k" ProxyCommand=x' };
    expect(() => sshArguments(way("qemu+ssh://host/system"), "qemu:///system", options)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});
