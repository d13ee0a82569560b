import "reflect-metadata";
import { Field, Int, ObjectType } from "type-graphql";
import { InstanceStub } from "../instance-stub.ts";

@ObjectType("Passthrough", { description: "Whether a device can be given to an instance.", simpleResolvers: true })
export class PassthroughObject {
  @Field(() => Boolean)
  possible!: boolean;

  @Field(() => String, {
    description:
      "One word, empty where it is possible: NoIommu, RootDisk, HostNetwork, SharedGroup, Bridge, Hub, NotSupported. More may come.",
  })
  reason!: string;

  @Field(() => String, { description: "A sentence, for people; empty where it is possible." })
  message!: string;
}

@ObjectType("DeviceUser", { description: "Who has a device.", simpleResolvers: true })
export class DeviceUserObject {
  @Field(() => InstanceStub, { nullable: true, description: "Null: a guest that others made." })
  instance!: InstanceStub | null;

  @Field(() => String, { nullable: true, description: "As the hypervisor names it." })
  guestName!: string | null;
}

@ObjectType("VirtualFunction", { description: "A virtual function of an SR-IOV device.", simpleResolvers: true })
export class VirtualFunctionObject {
  @Field(() => Int, { description: "Its number, from 0." })
  index!: number;

  @Field(() => String, { description: "Its PCI address." })
  address!: string;

  @Field(() => String, { nullable: true, description: "The kernel driver that is bound to it." })
  driver?: string | null;

  @Field(() => [String], { description: "Network interfaces that the host has of it." })
  interfaces!: string[];

  @Field(() => DeviceUserObject, { nullable: true, description: "Null while nobody has it." })
  user!: DeviceUserObject | null;
}

@ObjectType("Sriov", { description: "Virtual functions of a physical one.", simpleResolvers: true })
export class SriovObject {
  @Field(() => Int, { description: "How many it can have." })
  totalVfs!: number;

  @Field(() => Int, { description: "How many it has." })
  enabledVfs!: number;

  @Field(() => [VirtualFunctionObject], { description: "By number." })
  functions!: VirtualFunctionObject[];
}
