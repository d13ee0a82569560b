import { Field, ID, InputType, Int } from "type-graphql";
import type { InstancePolicy, OperationKind } from "../../services/operations/operation-types.ts";
import { InstancePolicyEnum, NodeOperationKindEnum } from "./operation-enums.ts";

const REASON = { nullable: true, description: "For others, and for the host's log; at most 500 characters." };
const PARALLEL = { nullable: true, description: "Migrations at once, 1–16; default 2." };
const REQUEST_ID = { nullable: true, description: "A call with one that was used before gives the operation that it made." };

@InputType("DisableNodeInput")
export class DisableNodeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, REASON)
  reason?: string | null;

  @Field(() => InstancePolicyEnum, {
    nullable: true,
    description: "MIGRATE: running instances leave by live migration; STOP: they are stopped. Left out or REFUSE: they stay as they are.",
  })
  instances?: InstancePolicy | null;

  @Field(() => Int, PARALLEL)
  maxParallel?: number | null;

  @Field(() => String, REQUEST_ID)
  clientRequestId?: string | null;
}

@InputType("EnableNodeInput")
export class EnableNodeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => Boolean, {
    nullable: true,
    description:
      "Also starts what the last operation on the node stopped (a shutdown, a reboot from which it returned late), where nobody has asked anything else of it since.",
  })
  startInstances?: boolean | null;
}

@InputType({ description: "What a reboot and a shutdown have in common." })
class PowerInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { description: "The node's own, typed to confirm." })
  hostname!: string;

  @Field(() => String, REASON)
  reason?: string | null;

  @Field(() => InstancePolicyEnum, { nullable: true, description: "Default REFUSE." })
  instances?: InstancePolicy | null;

  @Field(() => Int, PARALLEL)
  maxParallel?: number | null;

  @Field(() => String, REQUEST_ID)
  clientRequestId?: string | null;
}

@InputType("RebootNodeInput")
export class RebootNodeInput extends PowerInput {
  @Field(() => Int, {
    nullable: true,
    description: "Seconds from when the host was told until it has to be back, 30–86400; default 600.",
  })
  deadlineSeconds?: number | null;
}

@InputType("ShutdownNodeInput")
export class ShutdownNodeInput extends PowerInput {
  @Field(() => Int, {
    nullable: true,
    description: "Seconds from when the host was told until it has to be down, 30–86400; default 600.",
  })
  deadlineSeconds?: number | null;
}

@InputType("CancelNodeOperationInput")
export class CancelNodeOperationInput {
  @Field(() => ID)
  operationId!: string;
}

@InputType("NodeOperationFilter", { description: "What is null or left out does not filter." })
export class NodeOperationFilterInput {
  @Field(() => ID, { nullable: true })
  nodeId?: string | null;

  @Field(() => NodeOperationKindEnum, { nullable: true })
  kind?: OperationKind | null;

  @Field(() => Boolean, { nullable: true, description: "True: only those that have not ended; false: only those that have." })
  active?: boolean | null;
}
