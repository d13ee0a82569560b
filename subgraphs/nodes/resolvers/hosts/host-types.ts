import { Field, ID, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { KeyValue } from "../../../kit/graphql/shared-types.ts";
import { HOST_KINDS, type HostKind } from "../../services/hosts/host-types.ts";
import { NodeStub } from "../node-stub.ts";
import { NodeOperationObject } from "../operations/operation-object.ts";

export const HostKindEnum = enumOf(HOST_KINDS);
registerEnumType(HostKindEnum, {
  name: "HostKind",
  description: "What a host is added for; becomes Node.kind.",
  valuesConfig: {
    COMPUTE: { description: "Runs instances." },
    STORAGE: { description: "Holds volumes." },
    HYBRID: { description: "Both." },
  },
});

@ObjectType("NodeConfiguration", {
  description:
    "What a deleted node can be added again with, by addNode and updateNode. No secret is in it: credentials are to be given anew.",
  simpleResolvers: true,
})
export class NodeConfigurationObject {
  @Field(() => String)
  hostname!: string;

  @Field(() => String, { nullable: true, description: "Null for a node with an agent of its own: it joins again with a new token." })
  uri!: string | null;

  @Field(() => HostKindEnum, { nullable: true })
  kind!: HostKind | null;

  @Field(() => String, { nullable: true })
  region!: string | null;

  @Field(() => String, { nullable: true })
  zone!: string | null;

  @Field(() => [KeyValue])
  labels!: KeyValue[];

  @Field(() => [KeyValue])
  annotations!: KeyValue[];

  @Field(() => [String], { description: 'The SSH host keys that were pinned, "ssh-ed25519 AAAA…"; empty for a node without SSH.' })
  hostKeys!: string[];
}

@ObjectType("AddNodePayload", { simpleResolvers: true })
export class AddNodePayload {
  @Field(() => NodeStub, { nullable: true, description: "PENDING until the agent that stands for it reports." })
  node!: NodeStub | null;

  @Field(() => NodeStub, { nullable: true, description: "The machine whose agent reached the host, and stands for it at first." })
  bridgedBy!: NodeStub | null;

  @Field(() => [String], {
    description: 'The SSH host keys that are pinned, "ssh-ed25519 AAAA…": compare them with those of the host. Empty without SSH.',
  })
  hostKeys!: string[];
}

@ObjectType("UpdateNodeAccessPayload", { simpleResolvers: true })
export class UpdateNodeAccessPayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => [String], { description: 'The SSH host keys that are pinned now, "ssh-ed25519 AAAA…". Empty without SSH.' })
  hostKeys!: string[];
}

@ObjectType("DeleteNodePayload", { simpleResolvers: true })
export class DeleteNodePayload {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => NodeConfigurationObject, { description: "Keep it to add the node again." })
  configuration!: NodeConfigurationObject;

  @Field(() => NodeOperationObject, {
    nullable: true,
    description: "What moves or stops its instances first, and deletes it then: its events tell the end. Null: it is deleted.",
  })
  operation!: NodeOperationObject | null;
}
