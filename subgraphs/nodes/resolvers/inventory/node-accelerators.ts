import type { GraphQLResolveInfo } from "graphql";
import { Arg, Ctx, FieldResolver, Info, Resolver, Root } from "type-graphql";
import { knownList } from "../../services/inventory/unavailable.ts";
import { acceleratorViews } from "../../services/inventory/views/accelerator-view.ts";
import type { AcceleratorVendorName } from "../../services/inventory/views/enum-names.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { AcceleratorLinkObject, NodeAcceleratorObject } from "./accelerator-types.ts";
import { AcceleratorVendorEnum } from "./enums.ts";
import { volatileFieldsOf } from "./volatile-fields.ts";

const NULL = "Null where it was never reported or could not be read: `inventoryStatus` says why. Rights: viewer.";

@Resolver(() => NodeStub)
export class NodeAcceleratorsResolver {
  @FieldResolver(() => [NodeAcceleratorObject], {
    nullable: true,
    description: `By vendor and number; empty where no vendor's program is installed, whatever \`pciDevices\` has. ${NULL}`,
  })
  async accelerators(
    @Root() { id }: NodeStub,
    @Arg("vendor", () => AcceleratorVendorEnum, { nullable: true, description: "Only these." }) vendor: AcceleratorVendorName | null,
    @Ctx() context: NodesContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<NodeAcceleratorObject[] | null> {
    const stored = await context.inventory.ACCELERATORS.load(id);
    if (stored === null) return null;
    // A host without any has nobody to ask.
    const wantsUsage = stored.content.accelerators.length > 0 && volatileFieldsOf(info, context, ["usage"]).length > 0;
    return acceleratorViews(stored.content, wantsUsage ? await context.acceleratorUsages.load(id) : null, vendor);
  }

  @FieldResolver(() => [AcceleratorLinkObject], { nullable: true, description: NULL })
  async acceleratorLinks(@Root() { id }: NodeStub, @Ctx() { inventory }: NodesContext): Promise<AcceleratorLinkObject[] | null> {
    const stored = await inventory.ACCELERATORS.load(id);
    return stored && knownList(stored.content, "links", stored.content.links);
  }
}
