import { describe, expect, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { parseLibvirtUri } from "../../../../agent/libvirt/transport/libvirt-uri.ts";
import { createLogger } from "../../../../platform/observability/log.ts";

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

  test("over ssh names host, port, user and the socket there", () => {
    expect(parseLibvirtUri("qemu+ssh://fleet@host-1:2222/system?socket=/s")).toEqual({
      openName: "qemu:///system",
      way: { kind: "ssh", host: "host-1", port: 2222, user: "fleet", socketPaths: ["/s"] },
    });
    expect(parseLibvirtUri("qemu+ssh://[fe80::1]/system").way).toEqual({
      kind: "ssh",
      host: "fe80::1",
      port: null,
      user: null,
      socketPaths: SYSTEM,
    });
  });

  test("over ssh needs a way to the host, and says how the host comes into the graph", () => {
    const log = createLogger({ name: "test", level: "silent" });
    expect(() => LibvirtClient.open({ uri: "qemu+ssh://fleet@host-1/system", log })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("addNode") }),
    );
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
    ["qemu:///system?no_verify=1", /"no_verify".*there is socket/],
    ["qemu+ssh://host/system?no_verify=1", /"no_verify".*there is socket/],
    ["qemu+ssh://host/system?keyfile=/k", /"keyfile"/],
    ["qemu:///system?socket=relative", /absolute path/],
    ["qemu:///session", /socket=PATH/],
  ])("%j is refused, with what to write instead", (uri, message) => {
    expect(() => parseLibvirtUri(uri)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) }),
    );
  });
});
