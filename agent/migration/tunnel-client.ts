import type { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import { MigrationTunnelServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { CarryConnection } from "../drivers/migration-driver.ts";
import { bytesOf, writeBytes } from "./tunnel-bytes.ts";

export interface TunnelTarget {
  /** host:port of the destination's agent. */
  address: string;
  /** The name in its certificate. */
  peerUri: string;
  migrationId: string;
  ticket: string;
}

/** Carries connections of this host's hypervisor to another host's, over the two agents' mTLS. */
export function tunnelTo(pool: ChannelPool, { address, peerUri, migrationId, ticket }: TunnelTarget): CarryConnection {
  return async (channel, connection, signal) => {
    using lease = pool.lease({ address, peerUri });
    const client = lease.client(MigrationTunnelServiceDefinition);
    try {
      // The other side ends its answers when it has got all of ours, too.
      const answers = client.carryMigration(bytesOf(connection, { ticket, migrationId, channel }), { signal });
      await writeBytes(answers, connection, signal);
    } finally {
      connection.destroy();
    }
  };
}
