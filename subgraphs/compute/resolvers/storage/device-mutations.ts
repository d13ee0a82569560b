import type { ClassType } from "type-graphql";
import { Arg, Ctx, Field, Mutation, ObjectType, Resolver } from "type-graphql";
import type { DeviceAnswer } from "../../services/storage/device-requests.ts";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { TaskObject, toTaskObject } from "../tasks/task-type.ts";
import { AttachNetworkInterfaceInput, AttachVolumeInput, DetachNetworkInterfaceInput, DetachVolumeInput } from "./device-inputs.ts";

interface DevicePayload {
  task: TaskObject;
  instance: InstanceObject;
}

/** To be called once per name. */
function payload(name: string): ClassType<DevicePayload> {
  @ObjectType(name, { simpleResolvers: true })
  class Payload implements DevicePayload {
    @Field(() => TaskObject, { description: "Its events tell the end." })
    task!: TaskObject;

    @Field(() => InstanceObject, { description: "Its spec is changed when the task has succeeded." })
    instance!: InstanceObject;
  }
  return Payload;
}

const AttachVolumePayload = payload("AttachVolumePayload");
const DetachVolumePayload = payload("DetachVolumePayload");
const AttachNetworkInterfacePayload = payload("AttachNetworkInterfacePayload");
const DetachNetworkInterfacePayload = payload("DetachNetworkInterfacePayload");

const ONE_AT_A_TIME = "CONFLICT (reason TaskUnderWay) while something else is done with the instance. Rights: operator.";

/** All return at once, with a task. */
@Resolver(() => TaskObject)
export class DeviceMutationsResolver {
  @Mutation(() => AttachVolumePayload, {
    description: `Also while it runs, a MICROVM only while it is STOPPED; a container takes none. ${ONE_AT_A_TIME}`,
  })
  attachVolume(
    @Arg("input", () => AttachVolumeInput) input: AttachVolumeInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DevicePayload> {
    return toPayload(services.devices.attachVolume(request, input));
  }

  @Mutation(() => DetachVolumePayload, {
    description: `The volume itself stays. FAILED_PRECONDITION (reason DeviceBusy), as the task's error, where the guest does not let go of it. ${ONE_AT_A_TIME}`,
  })
  detachVolume(
    @Arg("input", () => DetachVolumeInput) input: DetachVolumeInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DevicePayload> {
    return toPayload(services.devices.detachVolume(request, input));
  }

  @Mutation(() => AttachNetworkInterfacePayload, {
    description: `Beside the first. Also while it runs, a MICROVM only while it is STOPPED; a container takes none. ${ONE_AT_A_TIME}`,
  })
  attachNetworkInterface(
    @Arg("input", () => AttachNetworkInterfaceInput) input: AttachNetworkInterfaceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DevicePayload> {
    return toPayload(services.devices.attachInterface(request, input));
  }

  @Mutation(() => DetachNetworkInterfacePayload, { description: ONE_AT_A_TIME })
  detachNetworkInterface(
    @Arg("input", () => DetachNetworkInterfaceInput) input: DetachNetworkInterfaceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DevicePayload> {
    return toPayload(services.devices.detachInterface(request, input));
  }
}

async function toPayload(answer: Promise<DeviceAnswer>): Promise<DevicePayload> {
  const { task, instance } = await answer;
  return { task: toTaskObject(task), instance: toInstanceObject(instance) };
}
