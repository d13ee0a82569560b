import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { HostReadError } from "../../host/host-channel.ts";

/** Names that were asked for are kept; a host has some hundreds. */
const MOST_KEPT = 20_000;

/**
 * The names in pci.ids or usb.ids of the machine that the agent runs on, whichever host they are for. The file (over a megabyte) is
 * read only for names that were not asked for before, and not kept.
 */
export class DeviceIds {
  readonly #paths: readonly string[];
  readonly #known = new Map<string, string | null>();
  #version = "";

  /** `paths`: the first that is there is read. */
  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /**
   * The names of those keys that the file has. Keys are ids in lower-case hexadecimal, each behind the one that it belongs to:
   * "8086" (vendor), "8086:10d3" (device), "8086:10d3:8086:a01f" (subsystem), "C 02", "C 02:00", "C 02:00:00" (class).
   * Throws HostReadError, NOT_INSTALLED without such a file.
   */
  async names(keys: Iterable<string>): Promise<Map<string, string>> {
    const wanted = new Set(keys);
    const { path, version } = await this.#find();
    if (version !== this.#version || this.#known.size > MOST_KEPT) this.#known.clear();
    this.#version = version;
    const unknown = new Set([...wanted].filter((key) => !this.#known.has(key)));
    if (unknown.size > 0) {
      const found = namesIn(await readText(path), unknown);
      for (const key of unknown) this.#known.set(key, found.get(key) ?? null);
    }
    const names = new Map<string, string>();
    for (const key of wanted) {
      const name = this.#known.get(key);
      if (name) names.set(key, name);
    }
    return names;
  }

  async #find(): Promise<{ path: string; version: string }> {
    for (const path of this.#paths) {
      const stats = await stat(path).catch(() => null);
      if (stats?.isFile()) return { path, version: `${path} ${stats.mtimeMs} ${stats.size}` };
    }
    const path = this.#paths[0] ?? "";
    const name = path.slice(path.lastIndexOf("/") + 1);
    throw new HostReadError("NOT_INSTALLED", path, `${name}, which has the names, is not on the machine that the agent runs on.`);
  }
}

export const PCI_IDS = new DeviceIds(["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"]);
export const USB_IDS = new DeviceIds(["/usr/share/misc/usb.ids", "/usr/share/hwdata/usb.ids", "/var/lib/usbutils/usb.ids"]);

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    return bytes.toString(isUtf8(bytes) ? "utf8" : "latin1");
  } catch (error) {
    throw new HostReadError("UNREADABLE", path, `${path} cannot be read.`, error);
  }
}

const LINE = /^(\t{0,2})((?:C )?[0-9a-f]{2,4}(?: [0-9a-f]{4})?) {2}(.+)$/;

/** Each line is an id and a name; a tab more than in the line before it says that it belongs to that one. */
function namesIn(text: string, wanted: ReadonlySet<string>): Map<string, string> {
  const names = new Map<string, string>();
  const path: string[] = [];
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(start, end).trimEnd();
    start = end + 1;
    if (line === "" || line.startsWith("#")) continue;
    const match = LINE.exec(line);
    if (!match) {
      // The head of a list that is neither of vendors nor of classes: what belongs to it is left out.
      if (!line.startsWith("\t")) path.length = 0;
      continue;
    }
    const [, tabs = "", id = "", name = ""] = match;
    if (tabs.length > path.length) continue;
    path.length = tabs.length;
    path.push(id.replace(/^([0-9a-f]{4}) /, "$1:"));
    const key = path.join(":");
    if (wanted.has(key)) names.set(key, name);
  }
  return names;
}
