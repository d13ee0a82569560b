import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import type { ComputeContext } from "./compute-context.ts";
import {
  AdoptInstanceInput,
  CreateInstanceInput,
  DeleteInstanceInput,
  ResizeInstanceInput,
  RestartInstanceInput,
  ResumeInstanceInput,
  StartInstanceInput,
  StopInstanceInput,
  SuspendInstanceInput,
  toRawCreation,
} from "./instance-inputs.ts";
import {
  AdoptInstancePayload,
  CreateInstancePayload,
  DeleteInstancePayload,
  type InstancePayload,
  ResizeInstancePayload,
  RestartInstancePayload,
  ResumeInstancePayload,
  StartInstancePayload,
  StopInstancePayload,
  SuspendInstancePayload,
  toPayload,
} from "./instance-payloads.ts";
import { InstanceObject } from "./instance-type.ts";

/** All return at once; what is not allowed in the instance's state is FAILED_PRECONDITION with the state and what is. */
@Resolver(() => InstanceObject)
export class InstanceMutationsResolver {
  @Mutation(() => CreateInstancePayload, {
    description:
      "Places an instance and has it made there. RESOURCE_EXHAUSTED (reason NoNodeFits, with the reason of each node) where none fits. Rights: operator.",
  })
  createInstance(
    @Arg("input", () => CreateInstanceInput) input: CreateInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.creation.create(request, toRawCreation(input)));
  }

  @Mutation(() => DeleteInstancePayload, {
    description:
      "Removes an instance with its disks. While its host cannot be reached that is remembered: it is DELETED, and what it holds is free, when nothing is left. Rights: operator.",
  })
  deleteInstance(
    @Arg("input", () => DeleteInstanceInput) { instanceId, ...options }: DeleteInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.delete(request, instanceId, options));
  }

  @Mutation(() => StartInstancePayload, { description: "One that is STOPPED, or in ERROR and not MISSING. Rights: operator." })
  startInstance(
    @Arg("input", () => StartInstanceInput) { instanceId }: StartInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.start(request, instanceId));
  }

  @Mutation(() => StopInstancePayload, {
    description: "Asks the guest to shut down, and powers it off when its time is over (stateReason STOP_TIMED_OUT). Rights: operator.",
  })
  stopInstance(
    @Arg("input", () => StopInstanceInput) { instanceId, ...options }: StopInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.stop(request, instanceId, options));
  }

  @Mutation(() => RestartInstancePayload, { description: "Stops it and starts it again. Rights: operator." })
  restartInstance(
    @Arg("input", () => RestartInstanceInput) { instanceId, ...options }: RestartInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.restart(request, instanceId, options));
  }

  @Mutation(() => SuspendInstancePayload, {
    description: "Makes its CPUs, or its processes, stand still; its memory stays taken, unless it goes to the disk. Rights: operator.",
  })
  suspendInstance(
    @Arg("input", () => SuspendInstanceInput) { instanceId, toDisk }: SuspendInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.suspend(request, instanceId, { toDisk }));
  }

  @Mutation(() => ResumeInstancePayload, { description: "Ends a suspension. Rights: operator." })
  resumeInstance(
    @Arg("input", () => ResumeInstanceInput) { instanceId }: ResumeInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.resume(request, instanceId));
  }

  @Mutation(() => ResizeInstancePayload, {
    description: "Changes CPUs, memory or disks on its node. RESOURCE_EXHAUSTED where that has not that much. Rights: operator.",
  })
  resizeInstance(
    @Arg("input", () => ResizeInstanceInput) { instanceId, ...sizes }: ResizeInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.resize(request, instanceId, sizes));
  }

  @Mutation(() => AdoptInstancePayload, {
    description:
      "Takes an instance that was found on a host into the fleet's care, unless the host's own configuration forbids it. Rights: admin.",
  })
  adoptInstance(
    @Arg("input", () => AdoptInstanceInput) { instanceId }: AdoptInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<InstancePayload> {
    return toPayload(services.requests.adopt(request, instanceId));
  }
}
