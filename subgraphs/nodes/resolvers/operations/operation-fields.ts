import { NodeOperationFieldsResolver, NodeOperationQueriesResolver } from "./node-operations.ts";
import { NodeOperationEventsResolver } from "./operation-events.ts";
import { OperationMutationsResolver } from "./operation-mutations.ts";

export const OPERATION_FIELDS = [
  NodeOperationFieldsResolver,
  NodeOperationQueriesResolver,
  OperationMutationsResolver,
  NodeOperationEventsResolver,
] as const;
