import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import {
  type CreatePoolRequest,
  type CreateVolumeRequest,
  PlugDevicesRequest,
  type ResizeVolumeRequest,
} from "../../schema/generated/proto/hypervisor/v1/storage.ts";
import { INSTANCE_ID } from "../instances/instance-store.ts";

const MAX_NAME = 255;
const MAX_TEXT = 2048;
/** More than any that the control plane takes. */
const MAX_BYTES = 256 * 1024;

/** What any agent can tell about a message; the host's own rules are its driver's. Throws INVALID_ARGUMENT. */
export function checkCreatePool({ name, path, source }: CreatePoolRequest): void {
  checkName("name", name);
  checkText("path", path, MAX_TEXT);
  checkText("source", source, MAX_TEXT);
}

export function checkName(field: string, name: string): void {
  if (name === "") throw invalidArgument(field, "It is not said which.");
  checkText(field, name, MAX_NAME);
}

export function checkVolume({ pool, name }: { pool: string; name: string }): void {
  checkName("pool", pool);
  checkName("name", name);
}

export function checkCreateVolume(request: CreateVolumeRequest): void {
  checkVolume(request);
  checkText("image", request.image, MAX_TEXT);
  checkBytes(request);
}

export function checkBytes({ capacityBytes }: Pick<ResizeVolumeRequest, "capacityBytes">): void {
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes < 0) throw invalidArgument("capacity_bytes", "It is a number of bytes.");
}

export function checkPlug(request: PlugDevicesRequest): void {
  if (!INSTANCE_ID.test(request.instanceId)) throw invalidArgument("instance_id", "An instance's id is inst- and letters and digits.");
  if (!Number.isSafeInteger(request.generation) || request.generation < 1) throw invalidArgument("generation", "It is a number from 1 on.");
  if (PlugDevicesRequest.encode(request).finish().length > MAX_BYTES) {
    throw invalidArgument("volumes", `Devices are described in at most ${MAX_BYTES} bytes.`);
  }
}

function checkText(field: string, text: string, most: number): void {
  if (text.length > most) throw invalidArgument(field, `It has at most ${most} characters.`);
}
