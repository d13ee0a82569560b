import type { GraphQLResolveInfo } from "graphql";
import { Ctx, FieldResolver, Info, Resolver, Root } from "type-graphql";
import { type HardwareView, hardwareView } from "../../services/inventory/hardware-view.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { CpuCacheType } from "./cpu-types.ts";
import { NodeHardwareObject } from "./hardware-types.ts";
import { volatileFieldsOf } from "./volatile-fields.ts";

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
    const volatileFields = volatileFieldsOf(info, context, VOLATILE_FIELDS);
    const reads = context.services.inventory;
    const isAbsent = reads.presence(id).state === "absent";
    const wantsUsage = volatileFields.length > 0 && !isAbsent;
    const [inventory, usage] = await Promise.all([context.inventory.HARDWARE.load(id), wantsUsage ? context.usages.load(id) : null]);
    if (inventory === null && isAbsent) return null;
    return toObject(hardwareView({ inventory, missing: reads.missingReason(id), usage, volatileFields }));
  }
}

const CACHE_TYPES: ReadonlySet<string> = new Set(Object.values(CpuCacheType));

function toObject({ cpu, ...rest }: HardwareView): NodeHardwareObject {
  const caches = cpu.caches?.map((cache) => ({ ...cache, type: CACHE_TYPES.has(cache.type) ? (cache.type as CpuCacheType) : null }));
  return { ...rest, cpu: { ...cpu, caches: caches ?? null } };
}
