import "reflect-metadata";
import { Field, ObjectType } from "type-graphql";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import type { InventoryPartName } from "../../services/inventory/inventory-parts.ts";
import { InventoryPartEnum } from "./enums.ts";
import { UnavailableValueObject } from "./unavailable-type.ts";

@ObjectType("NodeHost", { description: "Who a host is, and what runs its virtual machines.", simpleResolvers: true })
export class NodeHostObject {
  @Field(() => String, { nullable: true, description: "As libvirt names the host, else DMI's." })
  uuid?: string | null;

  @Field(() => String, { nullable: true, description: "Of this boot: another one after each restart of the host." })
  bootId?: string | null;

  @Field(() => DateTime, { nullable: true })
  bootedAt!: Date | null;

  @Field(() => String, { nullable: true, description: '"Debian GNU/Linux 12 (bookworm)".' })
  operatingSystem?: string | null;

  @Field(() => String, { nullable: true, description: "As `uname -r` writes it." })
  kernel?: string | null;

  @Field(() => String, { nullable: true, description: "As `uname -m` writes it." })
  architecture?: string | null;

  @Field(() => String, { nullable: true, description: '"QEMU".' })
  hypervisor?: string | null;

  @Field(() => String, { nullable: true })
  hypervisorVersion?: string | null;

  @Field(() => String, { nullable: true })
  libvirtVersion?: string | null;

  @Field(() => String, { nullable: true, description: '"kvm" or "qemu" (software emulation): what boots guests here, tried.' })
  virtualization?: string | null;

  @Field(() => DateTime, { nullable: true, description: "When it was read on the host; null where nothing was reported yet." })
  observedAt!: Date | null;

  @Field(() => [UnavailableValueObject], { description: "Why values are null." })
  unavailable!: UnavailableValueObject[];
}

@ObjectType("InventoryPartStatus", { description: "How one part of a node's inventory was read.", simpleResolvers: true })
export class InventoryPartStatusObject {
  @Field(() => InventoryPartEnum)
  part!: InventoryPartName;

  @Field(() => DateTime, { nullable: true, description: "When it was read on the host; null where nothing was reported yet." })
  observedAt!: Date | null;

  @Field(() => [UnavailableValueObject], {
    description: 'Why values are null: "devices[0000:01:00.0].link". Of volatile values their own objects tell.',
  })
  unavailable!: UnavailableValueObject[];
}
