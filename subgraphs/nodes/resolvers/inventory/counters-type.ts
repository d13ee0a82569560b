import "reflect-metadata";
import { Field, Float, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import { NodeStub } from "../node-stub.ts";
import { UnavailableValueObject } from "./unavailable-type.ts";

@ObjectType("InterfaceCounters", { description: "What went through a network interface since it came up.", simpleResolvers: true })
export class InterfaceCountersObject {
  @Field(() => Int64, { description: "Received, in bytes." })
  rxBytes!: number;

  @Field(() => Int64, { description: "Sent, in bytes." })
  txBytes!: number;

  @Field(() => Int64, { description: "Received packets." })
  rxPackets!: number;

  @Field(() => Int64, { description: "Sent packets." })
  txPackets!: number;

  @Field(() => Int64, { description: "Packets that came damaged." })
  rxErrors!: number;

  @Field(() => Int64, { description: "Packets that could not be sent." })
  txErrors!: number;

  @Field(() => Int64, { description: "Packets that were received and dropped." })
  rxDropped!: number;

  @Field(() => Int64, { description: "Packets that were dropped before they were sent." })
  txDropped!: number;
}

@ObjectType("InterfaceTraffic", { description: "Counters of a network interface, and how fast they grow.", simpleResolvers: true })
export class InterfaceTrafficObject extends InterfaceCountersObject {
  @Field(() => String, { description: "Of the interface." })
  name!: string;

  @Field(() => Float, { nullable: true, description: "Per second, since the sample before; null in the first one." })
  rxBytesPerSecond?: number | null;

  @Field(() => Float, { nullable: true, description: "Per second, since the sample before; null in the first one." })
  txBytesPerSecond?: number | null;

  @Field(() => Float, { nullable: true, description: "Per second, since the sample before; null in the first one." })
  rxPacketsPerSecond?: number | null;

  @Field(() => Float, { nullable: true, description: "Per second, since the sample before; null in the first one." })
  txPacketsPerSecond?: number | null;
}

@ObjectType("NodeTraffic", { description: "One sample of a host's network traffic.", simpleResolvers: true })
export class NodeTrafficObject {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => DateTime, { nullable: true, description: "When it was read on the host." })
  observedAt!: Date | null;

  @Field(() => [InterfaceTrafficObject], { description: "By name: those that were asked for, as far as the host has them." })
  interfaces!: InterfaceTrafficObject[];

  @Field(() => [UnavailableValueObject], { description: "What could not be read." })
  unavailable!: UnavailableValueObject[];
}
