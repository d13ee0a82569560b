import "reflect-metadata";
import type { GraphQLResolveInfo } from "graphql";
import { Ctx, Directive, Field, FieldResolver, ID, Info, ObjectType, Resolver, Root } from "type-graphql";
import { selectedPaths } from "../../kit/graphql/selection.ts";
import { missingReason } from "../services/hardware-reads.ts";
import { type HardwareView, hardwareView } from "../services/hardware-view.ts";
import { CpuCacheType, NodeHardwareObject } from "./hardware-types.ts";
import type { NodesContext } from "./nodes-context.ts";

/** The fields whose values only the host itself can tell. */
const VOLATILE_FIELDS = [
  "cpu.currentMhz",
  "memory.availableBytes",
  "memory.usedBytes",
  "memory.usedPercent",
  "memory.swapUsedBytes",
  "hugePages.free",
  "hugePages.used",
  "numa.memoryFreeBytes",
];

/** What this subgraph adds to the node, which the clusters subgraph owns. */
@ObjectType("Node", { simpleResolvers: true })
@Directive('@key(fields: "id")')
export class NodeStub {
  @Field(() => ID)
  id!: string;
}

@Resolver(() => NodeStub)
export class NodeHardwareResolver {
  @FieldResolver(() => NodeHardwareObject, {
    nullable: true,
    description:
      "Null for a node that no longer exists. A value that is not known is null and has an entry in `unavailable`. Rights: viewer.",
  })
  async hardware(
    @Root() { id }: NodeStub,
    @Ctx() context: NodesContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<NodeHardwareObject | null> {
    const volatileFields = volatileFieldsOf(info, context);
    const presence = context.hardware.presence(id);
    const wantsUsage = volatileFields.length > 0 && presence.state !== "absent";
    const [inventory, usage] = await Promise.all([context.inventories.load(id), wantsUsage ? context.usages.load(id) : null]);
    if (inventory === null && presence.state === "absent") return null;
    return toObject(hardwareView({ inventory, missing: missingReason(presence), usage, volatileFields }));
  }
}

/** The entity itself is the clusters subgraph's to tell; this only stands for it. */
export function resolveNodeReference({ id }: { id: string }): NodeStub {
  return { id };
}

function volatileFieldsOf(info: GraphQLResolveInfo, { volatileFields }: NodesContext): readonly string[] {
  let fields = volatileFields.get(info.fieldNodes);
  if (fields === undefined) {
    const selected = selectedPaths(info);
    fields = VOLATILE_FIELDS.filter((path) => selected.has(path));
    volatileFields.set(info.fieldNodes, fields);
  }
  return fields;
}

const CACHE_TYPES: ReadonlySet<string> = new Set(Object.values(CpuCacheType));

function toObject({ cpu, ...rest }: HardwareView): NodeHardwareObject {
  const caches = cpu.caches?.map((cache) => ({ ...cache, type: CACHE_TYPES.has(cache.type) ? (cache.type as CpuCacheType) : null }));
  return { ...rest, cpu: { ...cpu, caches: caches ?? null } };
}
