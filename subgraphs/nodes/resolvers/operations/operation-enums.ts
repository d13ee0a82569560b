import { registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { INSTANCE_POLICIES, OPERATION_KINDS, OPERATION_PHASES, OPERATION_STATES } from "../../services/operations/operation-types.ts";

export const NodeOperationKindEnum = enumOf(OPERATION_KINDS);
registerEnumType(NodeOperationKindEnum, {
  name: "NodeOperationKind",
  description: "What is done to a node.",
  valuesConfig: {
    DISABLE: { description: "Its instances leave it or are stopped; it stays in maintenance." },
    REBOOT: { description: "Its host is started again." },
    SHUTDOWN: { description: "Its host is switched off." },
    DELETE: { description: "Its instances leave it or are stopped, then it leaves the fleet. Nothing is done to its host." },
  },
});

export const NodeOperationStateEnum = enumOf(OPERATION_STATES);
registerEnumType(NodeOperationStateEnum, {
  name: "NodeOperationState",
  valuesConfig: {
    RUNNING: { description: "See phase, progress and waitingFor." },
    FAILED: { description: "See error. Unless the host had been told already, what was begun has been undone." },
    CANCELLED: { description: "Somebody asked for its end; what was begun has been undone." },
  },
});

export const NodeOperationPhaseEnum = enumOf(OPERATION_PHASES);
registerEnumType(NodeOperationPhaseEnum, {
  name: "NodeOperationPhase",
  description: "How far it is; of one that has ended, how far it came.",
  valuesConfig: {
    PREPARING: { description: "The node is put into maintenance, and its host asked which boot this is." },
    EVACUATING: { description: "Its instances are moved or stopped: see progress." },
    GOING_DOWN: { description: "The host is being told. From here on it is not cancelled." },
    WAITING_FOR_END: { description: "The host was told to shut down." },
    WAITING_FOR_RETURN: { description: "The host is rebooting." },
    RESTORING: { description: "The host is back: what was stopped is started, and the maintenance ended." },
    REMOVING: { description: "The node leaves the fleet." },
    UNDOING: { description: "It comes to nothing: what was begun is undone." },
  },
});

export const InstancePolicyEnum = enumOf(INSTANCE_POLICIES);
registerEnumType(InstancePolicyEnum, {
  name: "NodeInstancePolicy",
  description: "What becomes of the instances that run on a node.",
  valuesConfig: {
    REFUSE: { description: "Nothing is done while one runs there." },
    MIGRATE: { description: "Live migration to wherever each fits. Where one cannot be moved, nothing is done to the host." },
    STOP: {
      description: "Each is asked to shut down, and killed after its time. After a reboot those that were to run are started again.",
    },
  },
});
