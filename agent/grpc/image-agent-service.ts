import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  ImageAgentServiceDefinition,
  ImageSource,
  type NodeImage,
  NodeImageProgress,
} from "../../schema/generated/proto/hypervisor/v1/images.ts";
import type { ImageDriver } from "../drivers/image-driver.ts";
import type { InstanceKeeper } from "../instances/keeper.ts";
import type { NodeInstances } from "../instances/node-instances.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { progressStream } from "./progress-stream.ts";

const MAX_REFERENCE = 4096;
const MAX_NAME = 255;
/** Below what the control plane waits. */
const LIST_MS = 6_000;
const DELETE_MS = 60_000;

/** What the control plane asks of an agent about images. Every call names its node. */
export function imageAgentService(findInstances: FindInstances): GrpcService {
  return grpcService(ImageAgentServiceDefinition, {
    async listNodeImages({ nodeId, type }, { fleet }) {
      const drivers = imageDrivers(ofOwnNode(fleet, nodeId, findInstances), type);
      const signal = AbortSignal.any([fleet.signal, AbortSignal.timeout(LIST_MS)]);
      const images: NodeImage[] = [];
      const unavailable: string[] = [];
      await Promise.all(
        drivers.map(async ({ name, available, images: driver }) => {
          try {
            if (!available) throw new FleetError("UNAVAILABLE", `${name} is not there now: see what the host supports, and why not.`);
            images.push(...(await driver.listImages(signal)));
          } catch (error) {
            unavailable.push(FleetError.from(error).message);
          }
        }),
      );
      return { images, unavailable };
    },
    pullNodeImage({ nodeId, source, refresh }, { fleet }) {
      const wanted = checkSource(source);
      const { images } = oneDriver(ofOwnNode(fleet, nodeId, findInstances), wanted.type);
      const pull = async (tell: (progress: NodeImageProgress) => void, signal: AbortSignal) => {
        const image = await images.pullImage(wanted, { refresh, onProgress: tell }, signal);
        return NodeImageProgress.create({ status: "done", currentBytes: image.sizeBytes, totalBytes: image.sizeBytes, image });
      };
      return progressStream(pull, fleet.signal);
    },
    async deleteNodeImage({ nodeId, image, type }, { fleet }) {
      checkLength("image", image, MAX_REFERENCE);
      const instances = ofOwnNode(fleet, nodeId, findInstances);
      const { images } = oneDriver(instances, type);
      const signal = AbortSignal.any([fleet.signal, AbortSignal.timeout(DELETE_MS)]);
      await checkNotAwaited(await instances.keeperOf(nodeId), images, image, signal);
      return { freedBytes: await images.deleteImage(image, signal) };
    },
  });
}

/** Instances that were not made yet would find nothing to be made of. The driver knows of those that were. */
async function checkNotAwaited(keeper: InstanceKeeper, images: ImageDriver, image: string, signal: AbortSignal): Promise<void> {
  const found = (await images.listImages(signal)).find(({ id, names }) => id === image || names.includes(image));
  const instanceIds = keeper.waitingForImage(new Set([image, ...(found === undefined ? [] : [found.id, ...found.names])]));
  if (instanceIds.length === 0) return;
  throw new FleetError(
    "FAILED_PRECONDITION",
    `The image is needed by ${instanceIds.join(", ")}, which ${instanceIds.length === 1 ? "is" : "are"} to be made of it.`,
    {
      reason: "ImageInUse",
      details: { instanceIds, names: [] },
    },
  );
}

interface WithImages {
  name: string;
  available: boolean;
  types: readonly InstanceType[];
  images: ImageDriver;
}

/** UNSPECIFIED: all. */
function imageDrivers(instances: NodeInstances, type: InstanceType): WithImages[] {
  return instances.drivers.flatMap(({ name, available, types, images }) =>
    images !== null && (type === InstanceType.UNSPECIFIED || types.includes(type)) ? [{ name, available, types, images }] : [],
  );
}

function oneDriver(instances: NodeInstances, type: InstanceType): WithImages {
  if (type === InstanceType.UNSPECIFIED) throw invalidArgument("type", "It is not said what kind of image it is.");
  const [driver] = imageDrivers(instances, type);
  if (driver !== undefined) return driver;
  throw new FleetError("FAILED_PRECONDITION", "This host has no driver for images of this kind.", { reason: "NoDriver" });
}

function checkSource(source: ImageSource | undefined): ImageSource {
  const { ref, name, checksum } = source ?? ImageSource.create();
  checkLength("source.ref", ref, MAX_REFERENCE);
  if (name !== "") checkLength("source.name", name, MAX_NAME);
  if (checksum !== "" && !/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(checksum)) {
    throw invalidArgument("source.checksum", "It is sha256: or sha512: and the digest in small hexadecimal digits.");
  }
  return source ?? ImageSource.create();
}

function checkLength(field: string, value: string, max: number): void {
  if (value === "" || value.length > max) throw invalidArgument(field, `It has 1 to ${max} characters.`);
}
