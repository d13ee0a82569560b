import { describe, expect, test } from "vitest";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { parseHostUri } from "../../../../../subgraphs/nodes/services/hosts/host-uri.ts";

describe("URIs of hosts", () => {
  test.each([
    ["qemu+ssh://root@10.0.0.7/system", "qemu+ssh://root@10.0.0.7/system", "root", "10.0.0.7", 22],
    ["qemu+ssh://Ops@Host-1.Example:22/system", "qemu+ssh://Ops@host-1.example/system", "Ops", "host-1.example", 22],
    ["qemu+ssh://fleet@[2001:db8::7]:2222/system", "qemu+ssh://fleet@[2001:db8::7]:2222/system", "fleet", "2001:db8::7", 2222],
    ["qemu+ssh://u@h/system?socket=/run/x.sock", "qemu+ssh://u@h/system?socket=/run/x.sock", "u", "h", 22],
  ])("%s is understood", (raw, text, user, host, port) => {
    expect(parseHostUri(raw)).toEqual({ transport: "ssh", text, user, host, port });
  });

  test("a socket is on an agent's machine", () => {
    const text = "qemu+unix:///system?socket=/run/a/libvirt-sock";
    expect(parseHostUri(text)).toEqual({ transport: "unix", text, user: null, host: null, port: null });
  });

  test.each([
    "",
    "qemu:///system",
    "qemu+ssh://10.0.0.7/system",
    "qemu+ssh://root:secret@10.0.0.7/system",
    "qemu+ssh://root@10.0.0.7/session",
    "qemu+ssh://root@10.0.0.7/system#x",
    "qemu+ssh://root@/system",
    "qemu+ssh://ro%zzot@h/system",
    "qemu+ssh://-oProxyCommand=x@h/system",
    "qemu+ssh://root@-oProxyCommand=x/system",
    "qemu+ssh://root@h/system?command=/tmp/evil",
    "qemu+ssh://root@h/system?no_verify=1",
    "qemu+ssh://root@h/system?socket=relative",
    "qemu+ssh://root@h/system?socket=/run/../etc",
    "qemu+ssh://root@h/system?socket=/a&socket=/b",
    "qemu+unix:///system",
    "qemu+unix://host/system?socket=/a",
    "qemu+tcp://h/system",
    "xen+ssh://root@h/system",
    `qemu+ssh://root@${"h".repeat(600)}/system`,
  ])("%s is refused, naming the field", (raw) => {
    const error = (() => {
      try {
        parseHostUri(raw);
      } catch (thrown) {
        return thrown as FleetError;
      }
      return null;
    })();
    expect(error).toBeInstanceOf(FleetError);
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "uri" } });
    expect(error?.message).not.toContain("secret");
  });
});
