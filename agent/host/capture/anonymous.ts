import type { Capture, CapturedEntry } from "./format.ts";

/** Files, and names in programs' JSON, whose values tell one machine from all others. */
const TELLING_FILE = /\/(?:[a-z_]*serial|[a-z_]*uuid|wwid|wwn|eui|eui64|nguid|unique_id|machine-id)$/;
const TELLING_KEY = /"(?:serial|serial_number|wwn|wwid|eui64|uuid|ptuuid|partuuid|id-link|label|partlabel)":\s*"([^"]{4,})"/g;
/** An NVMe's or SCSI disk's world-wide name, in numbers. */
const TELLING_NUMBER = /("(?:id|ext_id|oui)":\s*)\d{4,}/g;
const UUID = /\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/gi;
const MAC = /\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/gi;
const IPV4 = /\b(?:\d{1,3}\.){3}\d{1,3}\b/g;
/** With a gap, or all eight groups: six of them are a hardware address, four a SCSI one. */
const IPV6 =
  /(?<![\w:.])(?:[0-9a-f]{0,4}:)*[0-9a-f]{0,4}::(?:[0-9a-f]{1,4}:)*[0-9a-f]{1,4}(?![\w:.])|(?<![\w:.])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:.])/gi;
const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const MOUNTS = "/proc/self/mountinfo";
/** Of containers and whatever else runs there; the system's own are in usual places. */
const OTHERS_MOUNT = /^(?:\S+ ){4}(?!\/(?:dev|run|sys|proc|tmp)(?:\/| ))\/\S+ .* - (?:tmpfs|overlay|nsfs|fuse\S*|proc) .*\n/gm;
/** Addresses in hexadecimal. */
const ADDRESS_FILE = /^\/proc\/net\/(?:route|ipv6_route|if_inet6)$/;
const KEPT = /^(?:(?:00:){5}00|(?:ff:){5}ff|127\..*|0\.0\.0\.0|255\..*|::1)$/i;

/**
 * The same capture without what tells which machine it is of: serial numbers, UUIDs, hardware and network addresses, names of file systems, and
 * its name (`hostname`). Each value has one replacement everywhere, so that what belongs together still does.
 */
export function anonymous(capture: Capture, hostname: string): Capture {
  const values = new Set<string>();
  const add = (value: string) => {
    const trimmed = value.trim();
    if (trimmed.length >= 4 && !PCI_ADDRESS.test(trimmed) && !/^(?:0+|none|unknown|not specified|N\/A)$/i.test(trimmed))
      values.add(trimmed);
  };
  for (const [path, { content = "" }] of capture.entries) if (TELLING_FILE.test(path)) add(content);
  for (const { command, stdout } of capture.commands.values()) {
    // `ip` labels addresses with the names of their interfaces.
    if (command.program !== "ip") for (const [, value] of stdout.matchAll(TELLING_KEY)) add(value ?? "");
  }
  if (hostname.length >= 4 && hostname !== "localhost") values.add(hostname);
  const replace = replacer([...values].filter((value) => !value.match(/^[0-9a-f-]{36}$/i)));
  const contentOf = (path: string, content: string) => {
    if (ADDRESS_FILE.test(path)) return withoutAddresses(content);
    return replace(path === MOUNTS ? withoutMounts(content) : content);
  };
  const entry = (path: string, { link, names, content, problem }: CapturedEntry): CapturedEntry => ({
    ...(link === undefined ? {} : { link: replace(link) }),
    ...(names === undefined ? {} : { names: names.map(replace) }),
    ...(content === undefined ? {} : { content: contentOf(path, content) }),
    ...(problem === undefined ? {} : { problem }),
  });
  return {
    ...capture,
    entries: new Map([...capture.entries].map(([path, value]) => [replace(path), entry(path, value)])),
    commands: new Map(
      [...capture.commands].map(([key, value]) => {
        const stdout = replace(value.stdout).replace(TELLING_NUMBER, "$11");
        return [key, { ...value, stdout, stderr: replace(value.stderr) }];
      }),
    ),
  };
}

function replacer(values: readonly string[]): (text: string) => string {
  const known = new Map<string, string>();
  const counts = { uuid: 0, mac: 0, ipv4: 0, ipv6: 0, value: 0 };
  const once = (value: string, make: () => string) => {
    if (KEPT.test(value)) return value;
    const key = value.toLowerCase();
    const made = known.get(key) ?? make();
    known.set(key, made);
    return made;
  };
  const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");
  const longestFirst = [...values].sort((one, other) => other.length - one.length);
  return (text) => {
    let result = text;
    for (const value of longestFirst) {
      if (result.includes(value)) result = result.replaceAll(value, () => once(value, () => `HIDDEN${++counts.value}`));
    }
    return result
      .replace(UUID, (uuid) => once(uuid, () => `00000000-0000-4000-8000-${hex(++counts.uuid, 12)}`))
      .replace(MAC, (mac) => once(mac, () => `02:00:00:00:00:${hex(++counts.mac % 256, 2)}`))
      .replace(IPV6, (address) => once(address, () => `${address.startsWith("fe80") ? "fe80" : "2001:db8"}::${hex(++counts.ipv6, 1)}`))
      .replace(IPV4, (address) => once(address, () => `192.0.2.${++counts.ipv4}`));
  };
}

/** Only whether there is one is left of each. */
function withoutAddresses(content: string): string {
  return content.replace(/\b[0-9A-Fa-f]{8}\b|\b[0-9a-f]{32}\b/g, (word) =>
    /^(?:0+|[Ff]+[0-9A-Fa-f]*0*)$/.test(word) ? word : "1".padStart(word.length, "0"),
  );
}

function withoutMounts(content: string): string {
  return content.replace(OTHERS_MOUNT, "");
}
