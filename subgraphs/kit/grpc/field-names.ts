import { FleetError } from "../../../platform/errors/fleet-error.ts";

/** Fields that have another name on this face. */
const NAMES: Record<string, string> = { first: "page_size" };

/**
 * The services name fields by their GraphQL path; here the same field goes by its path in the message: `capacity.memoryBytes` is
 * `capacity.memory_bytes`, `filter.region` is `region`.
 */
export async function withMessageFields<T>(call: () => Promise<T>, names: Record<string, string> = NAMES): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw inMessageFields(error, names);
  }
}

export function inMessageFields(error: unknown, names: Record<string, string> = NAMES): unknown {
  if (!(error instanceof FleetError) || typeof error.details.field !== "string") return error;
  const { code, message, reason, details, cause } = error;
  return new FleetError(code, message, { reason, details: { ...details, field: messageField(error.details.field, names) }, cause });
}

function messageField(field: string, names: Record<string, string>): string {
  return names[field] ?? field.replace(/^filter\./, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
