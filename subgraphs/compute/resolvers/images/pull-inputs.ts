import { Field, ID, InputType } from "type-graphql";
import type { ImageFormat } from "../../services/images/image-types.ts";
import type { InstanceType } from "../../services/instance-types.ts";
import { InstanceTypeEnum } from "../enums.ts";
import { ImageFormatEnum } from "./image-type.ts";

@InputType("PullImageInput")
export class PullImageInput {
  @Field(() => String, {
    description:
      "A container image's reference (registry/path:tag or registry/path@sha256:…), or the URL of a disk image (http, https, file). Without user name and password: see setRegistryCredential.",
  })
  imageRef!: string;

  @Field(() => InstanceTypeEnum, { nullable: true, description: "Where left out: VM for a URL, CONTAINER for anything else." })
  type?: InstanceType | null;

  @Field(() => [ID], {
    nullable: true,
    description: "Where to, at most 200. Left out or empty: the one node that a new instance of the type would go to.",
  })
  nodeIds?: string[] | null;

  @Field(() => String, { nullable: true, description: "The node that is chosen is in this region. Not with nodeIds." })
  region?: string | null;

  @Field(() => String, { nullable: true, description: "The node that is chosen is in this zone. Not with nodeIds." })
  zone?: string | null;

  @Field(() => String, {
    nullable: true,
    description: "Of a disk image, as it is served: sha256: with 64 hexadecimal digits, or sha512: with 128. Anything else is refused.",
  })
  checksum?: string | null;

  @Field(() => ImageFormatEnum, {
    nullable: true,
    description: "Of a disk image: QCOW2 or RAW; anything else is refused. Found out where left out.",
  })
  format?: ImageFormat | null;

  @Field(() => String, { nullable: true, description: "The name that instances call a disk image by; its URL alone where left out." })
  name?: string | null;

  @Field(() => Boolean, { nullable: true, description: "Asked for anew, also where it is there: a tag may have moved." })
  refresh?: boolean | null;

  @Field(() => String, {
    nullable: true,
    description:
      "Up to 128 characters. A call with one that was used before answers with the pull that it began, as it is now, and begins none.",
  })
  clientRequestId?: string | null;
}

@InputType("CancelImagePullInput")
export class CancelImagePullInput {
  @Field(() => ID)
  pullId!: string;
}

@InputType("DeleteImageInput")
export class DeleteImageInput {
  @Field(() => String, { description: "Its id, or one of its names." })
  image!: string;

  @Field(() => InstanceTypeEnum, { nullable: true, description: "Only an image of this type." })
  type?: InstanceType | null;

  @Field(() => [ID], { nullable: true, description: "Where, at most 200. Left out or empty: on every node that has it." })
  nodeIds?: string[] | null;
}
