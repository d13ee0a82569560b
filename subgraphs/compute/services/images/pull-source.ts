import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat, ImageSource, PullNodeImageRequest } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { PullSource } from "./image-input.ts";
import { withoutQuery } from "./image-ref.ts";

/** What a task of the kind IMAGE_PULL carries, which everybody may see. */
export type PullInput = Omit<PullSource, "imageRef"> & {
  /** Without a URL's query, which may hold a signature that is worth a password. */
  imageRef: string;
  /** Where there is a query: the whole of it, as a box of platform/secrets. */
  sealedRef: string | null;
};

const PURPOSE = "image reference";

export function toInput({ imageRef, ...source }: PullSource, secrets: SecretKeys): PullInput {
  const shown = withoutQuery(imageRef);
  return { ...source, imageRef: shown, sealedRef: shown === imageRef ? null : secrets.seal(imageRef, PURPOSE) };
}

/** What the agent of a node is asked for. Throws FAILED_PRECONDITION where the reference cannot be opened. */
export async function toRequest(nodeId: string, input: PullInput, secrets: SecretKeys): Promise<PullNodeImageRequest> {
  const { imageRef, sealedRef, type, checksum, format, name, refresh } = input;
  const source = ImageSource.create({
    ref: sealedRef === null ? imageRef : await secrets.open(sealedRef, PURPOSE),
    type: InstanceType[type],
    checksum: checksum ?? "",
    format: format === null ? ImageFormat.UNSPECIFIED : ImageFormat[format],
    name: name ?? "",
  });
  return PullNodeImageRequest.create({ nodeId, source, refresh });
}
