import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { InstanceMark } from "../../instance-driver.ts";
import { MARK_NAMESPACE } from "../domain-mark.ts";
import {
  attributeOf,
  buildOrdered,
  contentOf,
  inside,
  named,
  type OrderedElement,
  parseOrdered,
  setAttribute,
  setText,
  textOf,
} from "./ordered-xml.ts";

/** How a domain is to be on another host. */
export interface Rewriting {
  mark: InstanceMark;
  emulator: string;
  /** By their paths at the source, those at the destination; a path that is not here stays. */
  paths: ReadonlyMap<string, string>;
  /** Of disks that are copied flat: paths at the source. */
  flat: ReadonlySet<string>;
}

/**
 * A domain's XML for the destination: its mark, its emulator and its files are those there, and all the rest stays. Throws INVALID_ARGUMENT for a
 * domain that does not bear the mark of this instance.
 */
export function rewrittenDomain(xml: string, rewriting: Rewriting): string {
  const document = parseOrdered(xml);
  const domain = inside(document, "domain");
  if (domain === null) throw invalidArgument("domain_xml", "It is no domain.");
  rewriteMark(domain, rewriting.mark);
  const devices = inside(domain, "devices") ?? [];
  const emulator = inside(devices, "emulator");
  if (emulator !== null) setText(emulator, rewriting.emulator);
  for (const name of ["kernel", "initrd"]) rewriteText(inside(domain, "os", name), rewriting.paths);
  for (const element of named(devices, "disk")) rewriteDisk(element, rewriting);
  return buildOrdered(document);
}

/** The UUID in a domain's XML; empty where it has none. */
export function uuidOf(xml: string): string {
  return textOf(inside(parseOrdered(xml), "domain", "uuid")).trim();
}

/** The name in a domain's XML; empty where it has none. */
export function nameOf(xml: string): string {
  return textOf(inside(parseOrdered(xml), "domain", "name"));
}

function rewriteMark(domain: OrderedElement[], { instanceId, nodeId, generation }: InstanceMark): void {
  for (const element of inside(domain, "metadata") ?? []) {
    const name = Object.keys(element).find((key) => key !== ":@" && key.endsWith(":instance"));
    const prefix = name?.slice(0, -":instance".length) ?? "";
    if (name === undefined || attributeOf(element, `xmlns:${prefix}`) !== MARK_NAMESPACE) continue;
    if (attributeOf(element, "id") !== instanceId) break;
    setAttribute(element, "node", nodeId);
    setAttribute(element, "generation", String(generation));
    return;
  }
  throw invalidArgument("domain_xml", "The domain does not bear the mark of this instance.");
}

function rewriteDisk(element: OrderedElement, { paths, flat }: Rewriting): void {
  const disk = contentOf(element, "disk") ?? [];
  const [source] = named(disk, "source");
  const path = attributeOf(source, "file");
  if (source === undefined || path === "") return;
  const moved = paths.get(path);
  if (moved !== undefined) setAttribute(source, "file", moved);
  if (!flat.has(path)) return;
  for (const backing of named(disk, "backingStore")) disk.splice(disk.indexOf(backing), 1);
}

function rewriteText(content: OrderedElement[] | null, paths: ReadonlyMap<string, string>): void {
  const moved = content === null ? undefined : paths.get(textOf(content));
  if (content !== null && moved !== undefined) setText(content, moved);
}
