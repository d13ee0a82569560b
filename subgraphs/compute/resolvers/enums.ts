import { registerEnumType } from "type-graphql";
import { enumOf } from "../../kit/graphql/enum-of.ts";
import { DESIRED_STATES, FIRMWARES, INSTANCE_STATES, INSTANCE_TYPES, PLACEMENT_STRATEGIES } from "../services/instance-types.ts";

export const InstanceTypeEnum = enumOf(INSTANCE_TYPES);
registerEnumType(InstanceTypeEnum, {
  name: "InstanceType",
  description: "What runs an instance.",
  valuesConfig: {
    VM: { description: "A virtual machine with firmware and devices of a PC or server." },
    CONTAINER: { description: "Processes of the host, apart from others." },
    MICROVM: { description: "A virtual machine with few devices, which boots a kernel directly." },
  },
});

export const InstanceStateEnum = enumOf(INSTANCE_STATES);
registerEnumType(InstanceStateEnum, {
  name: "InstanceState",
  description: "What is seen of an instance; desiredState says what it is to be.",
  valuesConfig: {
    CREATING: { description: "It is being made on its host; `activity` tells how far, where that takes long." },
    STOPPED: { description: "It does not run. What it holds of its host stays reserved." },
    STOPPING: { description: "It is being stopped, or deleted (desiredState DELETED)." },
    ERROR: { description: "Something went wrong: see stateReason and errorMessage." },
    DELETED: { description: "Nothing is left of it on its host. It can still be read for some time." },
    SUSPENDED: { description: "Its CPUs stand still; its memory stays taken." },
  },
});

export const DesiredStateEnum = enumOf(DESIRED_STATES);
registerEnumType(DesiredStateEnum, {
  name: "DesiredState",
  description: "What an instance is to be. A guest that stops by itself, or is started by hand on its host, is to be what it became.",
});

export const FirmwareEnum = enumOf(FIRMWARES);
registerEnumType(FirmwareEnum, { name: "Firmware", description: "What a VM boots by." });

export const PlacementStrategyEnum = enumOf(PLACEMENT_STRATEGIES);
registerEnumType(PlacementStrategyEnum, {
  name: "PlacementStrategy",
  description: "Which of the nodes that fit is taken.",
  valuesConfig: {
    SPREAD: { description: "The one where most is free." },
    PACK: { description: "The one where least is free." },
  },
});
