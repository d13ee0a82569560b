import type { InstanceMark, InstancePlan } from "../instance-driver.ts";
import { attribute, buildXml, type XmlElement, type XmlTree } from "./xml.ts";

/** The namespace of the element in a domain's metadata by which the agent knows its own. */
export const MARK_NAMESPACE = "https://fleetgraph.dev/domain/1";
export const MARK_PREFIX = "fg";
/** The namespace of what is said about a run: it is there while the domain runs, and goes with it. */
export const RUN_NAMESPACE = "https://fleetgraph.dev/run/1";
export const RUN_PREFIX = "fgrun";

type Words = Readonly<Record<string, string>>;

/** What is kept in the domain besides the mark itself, for people and for tools on the host. */
export interface MarkNotes {
  name?: string;
  labels?: Words;
  annotations?: Words;
  env?: Words;
}

/** Of an instance's plan: the element, to be put into <metadata>. */
export function markElement(plan: InstancePlan): XmlTree {
  const { name, labels, annotations, spec } = plan;
  return {
    [`${MARK_PREFIX}:instance`]: {
      [`@xmlns:${MARK_PREFIX}`]: MARK_NAMESPACE,
      ...markContent(plan, { name, labels, annotations, env: spec.env }),
    },
  };
}

/** As `domainSetMetadata` takes it, which adds prefix and namespace. */
export function markXml(mark: InstanceMark, notes: MarkNotes = {}): string {
  return buildXml({ instance: markContent(mark, notes) });
}

/** Null for a domain that others made. */
export function readMark(metadata: XmlElement | null): InstanceMark | null {
  const mark = ownElement(metadata, MARK_NAMESPACE, "instance");
  const instanceId = attribute(mark, "id");
  const generation = Number(attribute(mark, "generation"));
  if (instanceId === "" || !Number.isSafeInteger(generation)) return null;
  return { instanceId, nodeId: attribute(mark, "node"), generation };
}

/** What was kept beside the mark. */
export function readMarkNotes(metadata: XmlElement | null): MarkNotes {
  const json = ownElement(metadata, MARK_NAMESPACE, "instance")?.["#text"];
  if (typeof json !== "string") return {};
  try {
    return JSON.parse(json) as MarkNotes;
  } catch {
    // Changed by hand.
    return {};
  }
}

/** As `domainSetMetadata` takes it. */
export function runXml(startedAt: Date): string {
  return buildXml({ run: { "@started": startedAt.toISOString() } });
}

/** Null where the domain does not run, or was started by others. */
export function readRun(metadata: XmlElement | null): Date | null {
  const startedAt = new Date(attribute(ownElement(metadata, RUN_NAMESPACE, "run"), "started"));
  return Number.isNaN(startedAt.getTime()) ? null : startedAt;
}

function markContent({ instanceId, nodeId, generation }: InstanceMark, notes: MarkNotes): XmlTree {
  return { "@id": instanceId, "@node": nodeId, "@generation": generation, "#text": xmlSafeJson(notes) };
}

/** JSON that XML can carry whatever the texts in it are: JSON's own escapes stand for characters that XML has none for. */
export function xmlSafeJson(value: unknown): string {
  const asEscape = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replace(/[\u007f-\u009f\ufffe\uffff]/g, asEscape);
}

/** An element of ours in a domain's metadata. */
export function ownElement(metadata: XmlElement | null, namespace: string, name: string): XmlElement | null {
  for (const [key, value] of Object.entries(metadata ?? {})) {
    const [prefix, local] = key.split(":", 2);
    if (local !== name || typeof value !== "object" || value === null) continue;
    if (attribute(value as XmlElement, `xmlns:${prefix}`) === namespace) return value as XmlElement;
  }
  return null;
}
