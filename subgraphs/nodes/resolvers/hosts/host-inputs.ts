import { Field, ID, InputType } from "type-graphql";
import { KeyValueInput } from "../../../kit/graphql/shared-types.ts";
import type { HostKind } from "../../services/hosts/host-types.ts";
import type { InstancePolicy } from "../../services/operations/operation-types.ts";
import { InstancePolicyEnum } from "../operations/operation-enums.ts";
import { HostKindEnum } from "./host-types.ts";

@InputType("HostCredentialsInput", {
  description: "How somebody signs in over SSH. Kept encrypted; given to nobody but the agent that uses it, which keeps it in memory.",
})
export class HostCredentialsInput {
  @Field(() => String, { nullable: true, description: "Recommended: a private key in OpenSSH's format or in PEM, up to 16384 characters." })
  privateKey?: string | null;

  @Field(() => String, { nullable: true, description: "Of the private key, up to 1024 characters." })
  passphrase?: string | null;

  @Field(() => String, { nullable: true, description: "Of the user, up to 1024 characters." })
  password?: string | null;
}

@InputType("AddNodeInput")
export class AddNodeInput {
  @Field(() => String, { description: "The node's name in the fleet. RFC 1123; upper case is taken as lower case." })
  hostname!: string;

  @Field(() => String, {
    description:
      "qemu+ssh://user@host[:port]/system[?socket=PATH]; or qemu+unix:///system?socket=PATH, a socket on an agent's machine (no shell).",
  })
  uri!: string;

  @Field(() => HostKindEnum, { nullable: true, description: "COMPUTE where left out." })
  kind?: HostKind | null;

  @Field(() => HostCredentialsInput, { nullable: true, description: "A key or a password for qemu+ssh; none for a socket." })
  credentials?: HostCredentialsInput | null;

  @Field(() => [String], {
    nullable: true,
    description: 'The host\'s own SSH keys, "ssh-ed25519 AAAA…", up to 8. Left out: what it shows at first contact is pinned.',
  })
  hostKeys?: string[] | null;

  @Field(() => String, { nullable: true, description: "Up to 128 characters." })
  region?: string | null;

  @Field(() => String, { nullable: true, description: "Up to 128 characters." })
  zone?: string | null;

  @Field(() => [KeyValueInput], { nullable: true })
  labels?: KeyValueInput[] | null;

  @Field(() => String, { nullable: true, description: "Up to 128 characters. A repeated call with the same adds the host once." })
  clientRequestId?: string | null;
}

@InputType("UpdateNodeAccessInput", { description: "What is left out stays as it is." })
export class UpdateNodeAccessInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { nullable: true, description: "Where the host is reached from now on; as for addNode." })
  uri?: string | null;

  @Field(() => HostCredentialsInput, { nullable: true, description: "They replace all that were given before." })
  credentials?: HostCredentialsInput | null;

  @Field(() => [String], { nullable: true, description: "They replace all that were pinned; as for addNode, up to 8." })
  hostKeys?: string[] | null;

  @Field(() => Boolean, {
    nullable: true,
    description: "True: what was pinned no longer counts, and what the host shows now is pinned. Not with hostKeys.",
  })
  forgetHostKeys?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    description:
      "True: the host may be another machine than before, by libvirt's uuid. The node keeps its instances, whether they are there or not.",
  })
  anotherHost?: boolean | null;
}

@InputType("DeleteNodeInput")
export class DeleteNodeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { description: "The node's hostname, typed to confirm." })
  hostname!: string;

  @Field(() => InstancePolicyEnum, { nullable: true, description: "REFUSE where left out. What is stopped there stays on the host." })
  instances?: InstancePolicy | null;
}
