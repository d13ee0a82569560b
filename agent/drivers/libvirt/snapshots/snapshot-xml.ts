import { z } from "zod";
import { NodeSnapshot } from "../../../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import { attribute, buildXml, element, parseXml, text } from "../xml.ts";

const notesSchema = z.object({
  fleetgraph: z.literal(1),
  name: z.string(),
  description: z.string(),
  quiesced: z.boolean(),
  notQuiescedReason: z.string(),
});

/** What is kept with a snapshot of ours, in libvirt's description of it. */
export type SnapshotNotes = Omit<z.infer<typeof notesSchema>, "fleetgraph">;

/** libvirt's words for what the domain was; see NodeSnapshot.state. */
const STATES: Readonly<Record<string, string>> = { running: "RUNNING", blocked: "RUNNING", paused: "PAUSED" };

export function snapshotXml(id: string, notes: SnapshotNotes): string {
  return buildXml({ domainsnapshot: { name: id, description: JSON.stringify({ fleetgraph: 1, ...notes }) } });
}

/** Throws for what is no snapshot's XML. */
export function readSnapshotXml(xml: string, current: string | null): NodeSnapshot {
  const snapshot = parseXml(xml, "domainsnapshot");
  const id = text(element(snapshot, "name"));
  const description = text(element(snapshot, "description"));
  const notes = readNotes(description);
  const memory = attribute(element(snapshot, "memory"), "snapshot");
  return NodeSnapshot.create({
    id,
    name: notes?.name ?? id,
    description: notes?.description ?? description,
    createdAt: new Date(Number(text(element(snapshot, "creationTime"))) * 1000),
    state: STATES[text(element(snapshot, "state"))] ?? "STOPPED",
    hasMemory: memory === "internal" || memory === "external",
    quiesced: notes?.quiesced ?? false,
    notQuiescedReason: notes?.notQuiescedReason ?? "",
    parentId: text(element(snapshot, "parent", "name")),
    current: id === current,
    managed: notes !== null,
  });
}

/** Null for one that others made. */
function readNotes(description: string): SnapshotNotes | null {
  try {
    return notesSchema.parse(JSON.parse(description));
  } catch {
    return null;
  }
}
