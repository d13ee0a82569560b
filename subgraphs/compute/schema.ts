import { buildSubgraph, type SubgraphSchema } from "../kit/graphql/build-subgraph.ts";
import type { ComputeContext } from "./resolvers/compute-context.ts";
import { CONSOLE_FIELDS } from "./resolvers/consoles/console-fields.ts";
import { ConsoleMutationsResolver } from "./resolvers/consoles/console-mutations.ts";
import { ConsoleOutputResolver } from "./resolvers/consoles/console-output.ts";
import { ImageMutationsResolver } from "./resolvers/images/image-mutations.ts";
import { ImagePullResolver } from "./resolvers/images/image-pull.ts";
import { ImageQueriesResolver } from "./resolvers/images/image-queries.ts";
import { RegistryCredentialsResolver } from "./resolvers/images/registry-credentials.ts";
import { InstanceEventsResolver } from "./resolvers/instance-events.ts";
import { INSTANCE_FIELDS } from "./resolvers/instance-fields.ts";
import { InstanceMutationsResolver } from "./resolvers/instance-mutations.ts";
import { InstanceQueriesResolver, resolveInstanceReference } from "./resolvers/instance-queries.ts";
import { InstanceStatsResolver } from "./resolvers/instance-stats.ts";
import { MigrationsResolver } from "./resolvers/migrations/migrations.ts";
import { NodeInstancesResolver, resolveNodeReference } from "./resolvers/node-instances.ts";
import { SnapshotsResolver } from "./resolvers/snapshots/snapshots.ts";
import { DeviceMutationsResolver } from "./resolvers/storage/device-mutations.ts";
import { STORAGE_FIELDS } from "./resolvers/storage/node-storage.ts";
import { StorageMutationsResolver } from "./resolvers/storage/storage-mutations.ts";
import { TaskEventsResolver } from "./resolvers/tasks/task-events.ts";
import { resolveTaskReference, TASK_QUERIES } from "./resolvers/tasks/task-queries.ts";

/** The subgraph's schema. Needs no database: services come with the context. */
export function computeSchema(): SubgraphSchema {
  return buildSubgraph<ComputeContext>({
    resolvers: [
      InstanceQueriesResolver,
      ...INSTANCE_FIELDS,
      InstanceMutationsResolver,
      InstanceEventsResolver,
      InstanceStatsResolver,
      NodeInstancesResolver,
      ...CONSOLE_FIELDS,
      ConsoleMutationsResolver,
      ConsoleOutputResolver,
      ImageQueriesResolver,
      ImageMutationsResolver,
      ImagePullResolver,
      RegistryCredentialsResolver,
      MigrationsResolver,
      SnapshotsResolver,
      ...STORAGE_FIELDS,
      StorageMutationsResolver,
      DeviceMutationsResolver,
      ...TASK_QUERIES,
      TaskEventsResolver,
    ],
    references: { Instance: resolveInstanceReference, Node: resolveNodeReference, Task: resolveTaskReference },
  });
}
