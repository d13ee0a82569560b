import type { Duplex } from "node:stream";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Authenticate } from "../../platform/grpc/authenticate.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { type MigrationBytes, MigrationTunnelServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import { bytesOf, writeBytes } from "../migration/tunnel-bytes.ts";
import { checkTunnel } from "./migration-requests.ts";

/** Opens what a prepared migration waits at. Throws UNAUTHENTICATED for a wrong ticket. */
export type AcceptMigration = (migrationId: string, ticket: string, channel: string) => Promise<Duplex>;

const FIRST_MESSAGE_MS = 10_000;

/** Where other hosts' agents bring a guest's memory and disks. `authenticate` lets their certificates in, to this service alone. */
export function migrationTunnelService(accept: AcceptMigration, authenticate: Authenticate): GrpcService {
  return grpcService(
    MigrationTunnelServiceDefinition,
    {
      async *carryMigration(messages, { fleet: { identity, signal } }) {
        if (identity?.kind !== "agent") throw new FleetError("FORBIDDEN", "Only agents bring guests.");
        const rest = messages[Symbol.asyncIterator]();
        const late = () => new FleetError("DEADLINE_EXCEEDED", "The ticket did not come.");
        const first = await waitAtMost(rest.next(), FIRST_MESSAGE_MS, signal, late);
        if (first.done === true) throw new FleetError("UNAUTHENTICATED", "The first message brings the ticket.");
        checkTunnel(first.value);
        const connection = await accept(first.value.migrationId, first.value.ticket, first.value.channel);
        yield* carried(connection, { [Symbol.asyncIterator]: () => rest }, signal);
      },
    },
    { authenticate },
  );
}

/** Both directions, until both have ended. */
async function* carried(connection: Duplex, messages: AsyncIterable<MigrationBytes>, signal: AbortSignal): AsyncGenerator<MigrationBytes> {
  // A connection that says nothing would not notice that the call is over.
  const onAbort = () => void connection.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  const writing = writeBytes(messages, connection, signal);
  writing.catch(onAbort);
  try {
    yield* bytesOf(connection);
    await writing;
  } finally {
    signal.removeEventListener("abort", onAbort);
    connection.destroy();
  }
}
