import type { NodeOperation } from "../../entities/node-operation.ts";
import type { OperationView } from "./operation-types.ts";

/** The operation as it is shown: in answers, and in events as it then was. */
export function operationView(operation: NodeOperation): OperationView {
  return {
    id: operation.id,
    nodeId: operation.nodeId,
    hostname: operation.hostname,
    kind: operation.kind,
    state: operation.state,
    phase: operation.phase,
    instances: operation.instances,
    maxParallel: operation.maxParallel,
    reason: operation.reason,
    progress: operation.progress,
    waitingFor: operation.waitingFor,
    errorCode: operation.errorCode,
    errorReason: operation.errorReason,
    errorMessage: operation.errorMessage,
    cancelRequested: operation.cancelRequested,
    requestedBy: operation.requestedBy,
    createdAt: operation.createdAt.toISOString(),
    finishedAt: operation.finishedAt?.toISOString() ?? null,
  };
}
