import type { InstanceMark, InstancePlan } from "../instance-driver.ts";

/** By these labels the agent knows its own. */
export const INSTANCE_LABEL = "fleetgraph.instance";
const NODE_LABEL = "fleetgraph.node";
const GENERATION_LABEL = "fleetgraph.generation";
/** For people and for tools on the host. The owner's own labels stay together, so that they mean nothing to whatever reads labels there. */
const NAME_LABEL = "fleetgraph.name";
const NOTES_LABEL = "fleetgraph.notes";
/** Of what the agent makes to find out whether containers run here; it is no instance. */
export const PROBE_LABEL = "fleetgraph.probe";

export function isProbe(labels: Readonly<Record<string, string>> | null | undefined): boolean {
  return labels?.[PROBE_LABEL] !== undefined;
}

export function markLabels({ instanceId, nodeId, generation, name, labels, annotations }: InstancePlan): Record<string, string> {
  return {
    [INSTANCE_LABEL]: instanceId,
    [NODE_LABEL]: nodeId,
    [GENERATION_LABEL]: String(generation),
    [NAME_LABEL]: name,
    [NOTES_LABEL]: JSON.stringify({ labels, annotations }),
  };
}

/** Null for a container that others made. */
export function readMark(labels: Readonly<Record<string, string>> | null | undefined): InstanceMark | null {
  const instanceId = labels?.[INSTANCE_LABEL] ?? "";
  const generation = Number(labels?.[GENERATION_LABEL]);
  if (instanceId === "" || !Number.isSafeInteger(generation)) return null;
  return { instanceId, nodeId: labels?.[NODE_LABEL] ?? "", generation };
}

const MAX_HOSTNAME = 63;

/** What the container calls itself: its owner's name as a host's name can be, else its id. */
export function hostname(name: string, instanceId: string): string {
  const words = name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/\p{Mark}/gu, "")
    .replace(/[^a-z0-9]+/g, "-");
  return words.replace(/^-+/, "").slice(0, MAX_HOSTNAME).replace(/-+$/, "") || instanceId;
}
