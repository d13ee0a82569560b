export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue | undefined };
/** An object as it is stored in the event log and sent to clients: JSON primitives only (dates as ISO text). A member that is undefined is left out. */
export type JsonObject = { [key: string]: JsonValue | undefined };
