import type { ClassType } from "type-graphql";
import { Field, ObjectType } from "type-graphql";
import type { InstanceView } from "../services/instance-types.ts";
import { InstanceObject, toInstanceObject } from "./instance-type.ts";

export interface InstancePayload {
  instance: InstanceObject;
}

/** The payload of a mutation: the instance in its transitional state. To be called once per name. */
function payload(name: string): ClassType<InstancePayload> {
  @ObjectType(name, { simpleResolvers: true })
  class Payload implements InstancePayload {
    @Field(() => InstanceObject, { description: "In its transitional state; its events tell the end." })
    instance!: InstanceObject;
  }
  return Payload;
}

export const CreateInstancePayload = payload("CreateInstancePayload");
export const DeleteInstancePayload = payload("DeleteInstancePayload");
export const StartInstancePayload = payload("StartInstancePayload");
export const StopInstancePayload = payload("StopInstancePayload");
export const RestartInstancePayload = payload("RestartInstancePayload");
export const SuspendInstancePayload = payload("SuspendInstancePayload");
export const ResumeInstancePayload = payload("ResumeInstancePayload");
export const ResizeInstancePayload = payload("ResizeInstancePayload");
export const AdoptInstancePayload = payload("AdoptInstancePayload");

export async function toPayload(view: Promise<InstanceView>): Promise<InstancePayload> {
  return { instance: toInstanceObject(await view) };
}
