import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { AttachedVolume, InstanceSpec, InterfaceSpec } from "../instance-types.ts";
import { MAX_INTERFACES, MAX_VOLUMES, volumeConflict } from "../spec-devices-input.ts";
import type { TaskKind } from "../tasks/task-types.ts";

export type DeviceTaskKind = Extract<TaskKind, "VOLUME_ATTACH" | "VOLUME_DETACH" | "INTERFACE_ATTACH" | "INTERFACE_DETACH">;

/** All that an instance has, or is to have, beside its disks and its first interface. */
export type Devices = Pick<InstanceSpec, "volumes" | "interfaces">;

/**
 * What an instance has once a device task has succeeded; pure. `input`: the task's, checked. Throws ALREADY_EXISTS, NOT_FOUND (with the
 * field), FAILED_PRECONDITION (reason TooManyDevices).
 */
export function plannedDevices(kind: DeviceTaskKind, input: JsonObject, spec: InstanceSpec): Devices {
  const { volumes, interfaces } = spec;
  if (kind === "VOLUME_ATTACH") return { volumes: [...volumes, newVolume(input as AttachedVolume, spec)], interfaces };
  if (kind === "VOLUME_DETACH") return { volumes: without(volumes, String(input["name"]), "volume"), interfaces };
  if (kind === "INTERFACE_ATTACH") return { volumes, interfaces: [...interfaces, newInterface(input as InterfaceSpec, spec)] };
  return { volumes, interfaces: without(interfaces, String(input["name"]), "interface") };
}

function newVolume(volume: AttachedVolume, spec: InstanceSpec): AttachedVolume {
  const taken = volumeConflict(volume, spec);
  if (taken !== null) throw alreadyThere(taken.field, taken.message);
  if (spec.volumes.length >= MAX_VOLUMES) throw tooMany("volumes", MAX_VOLUMES);
  return volume;
}

function newInterface(one: InterfaceSpec, { interfaces }: InstanceSpec): InterfaceSpec {
  if (interfaces.some(({ name }) => name === one.name)) {
    throw alreadyThere("name", "An interface of the instance is called so already.");
  }
  if (interfaces.length >= MAX_INTERFACES) throw tooMany("interfaces", MAX_INTERFACES);
  return one;
}

function without<Device extends { name: string }>(devices: readonly Device[], name: string, what: string): Device[] {
  const rest = devices.filter((device) => device.name !== name);
  if (rest.length < devices.length) return rest;
  throw new FleetError("NOT_FOUND", `The instance has no ${what} that is called ${JSON.stringify(name)}.`, {
    details: { field: "name", names: devices.map((device) => device.name) },
  });
}

function alreadyThere(field: string, message: string): FleetError {
  return new FleetError("ALREADY_EXISTS", message, { details: { field } });
}

function tooMany(what: string, max: number): FleetError {
  return new FleetError("FAILED_PRECONDITION", `An instance has at most ${max} ${what}: detach one first.`, {
    reason: "TooManyDevices",
    details: { max },
  });
}
