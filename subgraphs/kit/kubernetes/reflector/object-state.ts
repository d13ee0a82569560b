/** What is kept of each object, as JSON, by uid. Text, since it takes a third of the memory of objects and is compared at once. */
export type ObjectState = ReadonlyMap<string, string>;

export type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

/** One object's change. `json` is its last state where it is DELETED. */
export interface Change {
  type: ChangeType;
  uid: string;
  json: string;
}

/** What leads from one state to another: first what is gone, so that names are free, then the rest, each in the order of uids. */
export function difference(before: ObjectState, after: ObjectState): Change[] {
  const changes: Change[] = [];
  for (const [uid, json] of before) if (!after.has(uid)) changes.push({ type: "DELETED", uid, json });
  for (const [uid, json] of after) {
    const old = before.get(uid);
    if (old === undefined) changes.push({ type: "ADDED", uid, json });
    else if (old !== json) changes.push({ type: "MODIFIED", uid, json });
  }
  return changes.sort((one, other) => compareKeys(changeKey(one), changeKey(other)));
}

/** The place of a change in a difference. */
export function changeKey({ type, uid }: Change): string {
  return type === "DELETED" ? `-${uid}` : `=${uid}`;
}

/** What of a difference comes behind one of its changes. */
export function restOfDifference(changes: readonly Change[], behind: string): Change[] {
  return changes.filter((change) => compareKeys(changeKey(change), behind) > 0);
}

/** What comes behind an object in a snapshot, in its order. */
export function restOfSnapshot(state: ObjectState, behind: string): Array<[uid: string, json: string]> {
  return [...state].filter(([uid]) => compareKeys(uid, behind) > 0).sort(([one], [other]) => compareKeys(one, other));
}

function compareKeys(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
