/** A value that is null, and why. `field` is its path below the object; a path stands for everything below it. */
export interface Unavailable {
  field: string;
  /** One word in CAPITALS. */
  reason: string;
  message: string;
}

/** What is known of the fields that an agent could not read. */
interface WithUnavailable {
  unavailable: readonly Unavailable[];
}

const MISSING_MESSAGES: Record<string, string> = {
  NOT_REPORTED_YET: "The node's agent has not reported this yet.",
  SIMULATED: "The node is simulated: it has no hardware.",
  NO_AGENT: "No agent stands for this node.",
};

/** For fields of which nothing was ever reported. */
export function neverReported(fields: readonly string[], reason: string): Unavailable[] {
  return fields.map((field) => ({ field, reason, message: MISSING_MESSAGES[reason] ?? "" }));
}

/** Null for a list that is empty because it could not be read: a message has no other way to say so. */
export function knownList<T>(source: WithUnavailable | null | undefined, path: string, list: readonly T[] | undefined): T[] | null {
  if (!source || list === undefined) return null;
  if (list.length === 0 && source.unavailable.some(({ field }) => path === field || path.startsWith(`${field}.`))) return null;
  return [...list];
}

/**
 * Paths with a name in place of the place in the list, because lists are shown filtered and by kind: "devices[3].link" is
 * "devices[0000:01:00.0].link". `names`: by list, in its order.
 */
export function byName(unavailable: readonly Unavailable[], names: Readonly<Record<string, readonly string[]>>): Unavailable[] {
  return unavailable.map((one) => {
    const match = /^(\w+)\[(\d+)\](.*)$/.exec(one.field);
    const name = match && names[match[1] as string]?.[Number(match[2])];
    return name === null || name === undefined ? one : { ...one, field: `${match?.[1]}[${name}]${match?.[3]}` };
  });
}
