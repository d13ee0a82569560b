import { once } from "node:events";
import type { Duplex } from "node:stream";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { MigrationBytes } from "../../schema/generated/proto/hypervisor/v1/migration.ts";

const MAX_DATA_BYTES = 64 * 1024;

/** What a connection of a hypervisor says, as messages; they are made as fast as they are taken. `first` goes before them. */
export async function* bytesOf(connection: Duplex, first?: Partial<MigrationBytes>): AsyncGenerator<MigrationBytes> {
  if (first !== undefined) yield MigrationBytes.fromPartial(first);
  for await (const chunk of connection.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += MAX_DATA_BYTES) {
      yield MigrationBytes.fromPartial({ data: chunk.subarray(at, at + MAX_DATA_BYTES) });
    }
  }
  yield MigrationBytes.fromPartial({ end: true });
}

/** Writes to a connection what the other side's says, as fast as it takes it, and ends that direction with it. */
export async function writeBytes(messages: AsyncIterable<MigrationBytes>, connection: Duplex, signal: AbortSignal): Promise<void> {
  let hasEnded = false;
  for await (const { data, end } of messages) {
    if (hasEnded) continue;
    if (data.length > MAX_DATA_BYTES) throw new FleetError("INVALID_ARGUMENT", `A message holds at most ${MAX_DATA_BYTES} bytes.`);
    if (connection.destroyed) throw broken();
    if (data.length > 0 && !connection.write(data)) await drained(connection, signal);
    if (end) {
      hasEnded = true;
      connection.end();
    }
  }
  // A stream that just ends was cut off: the other hypervisor must not take that for the end of what was to come.
  if (!hasEnded) throw broken();
}

async function drained(connection: Duplex, signal: AbortSignal): Promise<void> {
  const closed = new AbortController();
  const onClose = () => closed.abort(broken());
  connection.once("close", onClose);
  try {
    await once(connection, "drain", { signal: AbortSignal.any([signal, closed.signal]) });
  } catch (error) {
    throw signal.aborted ? error : broken();
  } finally {
    connection.off("close", onClose);
  }
}

function broken(): FleetError {
  return new FleetError("UNAVAILABLE", "A connection of the migration was cut off.", { reason: "TunnelBroken" });
}
