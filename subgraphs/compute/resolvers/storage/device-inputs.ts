import { Field, ID, InputType } from "type-graphql";
import { NetworkSpecInput } from "../instance-spec-input.ts";

const REQUEST_ID = "Up to 128 characters. A call with one that was used before answers with the task that it made, as it is now.";

@InputType("AttachVolumeInput")
export class AttachVolumeInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, {
    description: "1–20 letters, digits, '-' and '_'; unique among the instance's disks and volumes: the disk's serial number in the guest.",
  })
  name!: string;

  @Field(() => String, { description: "Of the instance's node." })
  pool!: string;

  @Field(() => String)
  volume!: string;

  @Field(() => Boolean, { nullable: true })
  readOnly?: boolean | null;

  @Field(() => String, { nullable: true, description: REQUEST_ID })
  clientRequestId?: string | null;
}

@InputType("DetachVolumeInput")
export class DetachVolumeInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, { description: "As the instance has it." })
  name!: string;

  @Field(() => String, { nullable: true, description: REQUEST_ID })
  clientRequestId?: string | null;
}

@InputType("AttachNetworkInterfaceInput")
export class AttachNetworkInterfaceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, { description: "1–20 letters, digits, '-' and '_'; unique among the instance's interfaces." })
  name!: string;

  @Field(() => NetworkSpecInput, { nullable: true, description: "Without assignPublicIp." })
  network?: NetworkSpecInput | null;

  @Field(() => String, { nullable: true, description: REQUEST_ID })
  clientRequestId?: string | null;
}

@InputType("DetachNetworkInterfaceInput")
export class DetachNetworkInterfaceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, { description: "As the instance has it." })
  name!: string;

  @Field(() => String, { nullable: true, description: REQUEST_ID })
  clientRequestId?: string | null;
}
