import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { DOMAIN_XML } from "../../../libvirt/values.ts";
import { isOwnGuest } from "../domain-index.ts";
import { readMark } from "../domain-mark.ts";
import { attempt, orNull } from "../driver-errors.ts";
import { attribute, element, elements, parseXml, text, type XmlElement } from "../xml.ts";

/** A file that a disk of a domain is on, in its definition or while it runs. */
export interface DiskUse {
  domainUuid: string;
  /** The instance's id; a domain's name where it is nobody's instance. */
  user: string;
  path: string;
  /** False: the disk stands on it, and on others above it. */
  isTop: boolean;
  readOnly: boolean;
  /** "vdb" */
  target: string;
  /** It runs with it now. */
  live: boolean;
}

const PATHS = ["file", "dev", "dir"] as const;

/** Of every domain of the host, whoever made it, as it is defined and as it runs. */
export async function readDiskUses(client: LibvirtClient, signal: AbortSignal): Promise<DiskUse[]> {
  const { domains } = await attempt("list domains", () => client.call("connectListAllDomains", {}, { signal }));
  const uses = await Promise.all(domains.filter((dom) => !isOwnGuest(dom)).map((dom) => usesOf(client, dom, signal)));
  return uses.flat();
}

/** What one domain's XML says. */
export function diskUsesIn(xml: string, live: boolean): DiskUse[] {
  const domain = parseXml(xml, "domain");
  const domainUuid = text(element(domain, "uuid")).trim();
  const user = readMark(element(domain, "metadata"))?.instanceId ?? text(element(domain, "name"));
  return elements(element(domain, "devices"), "disk").flatMap((disk) => {
    const target = attribute(element(disk, "target"), "dev");
    const readOnly = element(disk, "readonly") !== null;
    const use = (path: string, isTop: boolean): DiskUse => ({ domainUuid, user, path, isTop, readOnly: readOnly || !isTop, target, live });
    const [top, ...below] = pathsOf(disk);
    // What a disk is being copied to is written to.
    const copy = pathsOf(element(disk, "mirror")).slice(0, 1);
    return [
      ...(top === undefined || top === "" ? [] : [use(top, true)]),
      ...below.filter((path) => path !== "").map((path) => use(path, false)),
      ...copy.filter((path) => path !== "").map((path) => ({ ...use(path, true), readOnly: false })),
    ];
  });
}

/** A disk's own path, then those that it stands on; "" for what is no path. */
export function pathsOf(disk: XmlElement | null): string[] {
  const paths: string[] = [];
  for (let at = disk; at !== null; at = element(at, "backingStore")) {
    const source = element(at, "source");
    if (source !== null) paths.push(PATHS.map((name) => attribute(source, name)).find((path) => path !== "") ?? "");
  }
  return paths;
}

async function usesOf(client: LibvirtClient, dom: DomainReference, signal: AbortSignal): Promise<DiskUse[]> {
  const read = async (flags: number) =>
    await attempt("read a domain", () => orNull(client.call("domainGetXmlDesc", { dom, flags }, { signal }), "NO_DOMAIN"));
  const isRunning = dom.id !== -1;
  const [live, defined] = await Promise.all([isRunning ? read(0) : null, read(DOMAIN_XML.INACTIVE)]);
  return [...(live === null ? [] : diskUsesIn(live.xml, true)), ...(defined === null ? [] : diskUsesIn(defined.xml, false))];
}
