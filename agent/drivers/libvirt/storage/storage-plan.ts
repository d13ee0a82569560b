import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { DiskSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstancePlan } from "../../instance-driver.ts";
import { cloudInitSeed } from "./cloud-init-seed.ts";
import { MAX_DISK_BYTES } from "./image-format.ts";
import { type ImageReference, parseImageReference } from "./image-name.ts";

export type DiskType = "" | "ssd" | "hdd";

export interface DiskPlan {
  name: string;
  volume: string;
  type: DiskType;
  boot: boolean;
  /** Carries the instance's image. */
  fromImage: boolean;
  /** At least; 0: the image's size. */
  sizeBytes: number;
}

/** What a plan means for storage, before anything on the host was looked at. */
export interface StoragePlan {
  instanceId: string;
  image: ImageReference | null;
  kernel: string | null;
  initrd: string | null;
  disks: DiskPlan[];
  /** The seed's whole content; null where cloud-init was not asked for. */
  seed: Buffer | null;
  seedVolume: string;
}

const INSTANCE_ID = /^inst-[a-z0-9]{1,32}$/;
const DISK_NAME = /^[A-Za-z0-9_-]{1,40}$/;
const MAX_DISKS = 16;
/** libvirt hands sizes to qemu-img in KiB. */
const SIZE_STEP = 1024;

/** Checks all that can be checked without the host. INVALID_ARGUMENT with the field, or FAILED_PRECONDITION ImageRequired. */
export function storagePlan(plan: InstancePlan, imageDir: string): StoragePlan {
  const { instanceId, spec } = plan;
  const prefix = volumePrefix(instanceId);
  const image = spec.image === "" ? null : parseImageReference(spec.image, "image", imageDir);
  if (image === null && spec.kernel === "") {
    throw new FleetError("FAILED_PRECONDITION", "A VM without an image has nothing to boot: name an image, or a kernel.", {
      reason: "ImageRequired",
      details: { field: "spec.image" },
    });
  }
  return {
    instanceId,
    image,
    kernel: fileName(spec.kernel, "kernel", imageDir),
    initrd: fileName(spec.initrd, "initrd", imageDir),
    disks: diskPlans(spec.disks, image !== null, prefix),
    seed: spec.cloudInit === undefined ? null : cloudInitSeed(instanceId, plan.name, spec.cloudInit),
    seedVolume: `${prefix}seed.iso`,
  };
}

/** What the names of all volumes of an instance begin with, and no others. */
export function volumePrefix(instanceId: string): string {
  if (!INSTANCE_ID.test(instanceId)) {
    throw new FleetError("INVALID_ARGUMENT", `${JSON.stringify(instanceId)} is no instance id.`, { details: { field: "instance_id" } });
  }
  return `${instanceId}.`;
}

/** As a qcow2 volume of this size gets it. */
export function wholeSteps(bytes: number): number {
  return Math.ceil(bytes / SIZE_STEP) * SIZE_STEP;
}

function fileName(text: string, field: "kernel" | "initrd", imageDir: string): string | null {
  if (text === "") return null;
  const reference = parseImageReference(text, field, imageDir);
  return reference.kind === "name" ? reference.name : null;
}

function diskPlans(specs: readonly DiskSpec[], hasImage: boolean, prefix: string): DiskPlan[] {
  if (specs.length > MAX_DISKS) throw invalid("", `${specs.length} disks were asked for; ${MAX_DISKS} are possible.`);
  if (specs.filter(({ boot }) => boot).length > 1) throw invalid("", "More than one disk is marked as the boot disk.");
  if (new Set(specs.map(({ name }) => name)).size < specs.length) throw invalid("", "Two disks have the same name.");
  if (specs.length === 0) return hasImage ? [diskPlan({ name: "root", sizeBytes: 0, type: "", boot: true }, 0, true, prefix)] : [];
  // The image goes onto the boot disk, or onto the first one where none is marked.
  const boot = Math.max(
    specs.findIndex((spec) => spec.boot),
    0,
  );
  return specs.map((spec, index) => diskPlan(spec, index, hasImage && index === boot, prefix));
}

function diskPlan(spec: DiskSpec, index: number, fromImage: boolean, prefix: string): DiskPlan {
  const { name, sizeBytes, type, boot } = spec;
  if (!DISK_NAME.test(name)) {
    throw invalid(`[${index}].name`, `The disk name ${JSON.stringify(name.slice(0, 60))} is not 1 to 40 letters, digits, "-" and "_".`);
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_DISK_BYTES) {
    throw invalid(`[${index}].size_bytes`, `The disk ${name} has a size of ${sizeBytes} bytes; up to ${MAX_DISK_BYTES} are possible.`);
  }
  if (sizeBytes === 0 && !fromImage)
    throw invalid(`[${index}].size_bytes`, `The disk ${name} needs a size: it has no image to take it from.`);
  if (type !== "" && type !== "ssd" && type !== "hdd") {
    throw new FleetError("INVALID_ARGUMENT", `The disk ${name} has the type ${JSON.stringify(type.slice(0, 60))}; ssd and hdd are known.`, {
      reason: "DiskTypeUnknown",
      details: { field: `spec.disks[${index}].type` },
    });
  }
  return { name, volume: `${prefix}${name}.qcow2`, type, boot: boot || fromImage, fromImage, sizeBytes };
}

function invalid(place: string, message: string): FleetError {
  return new FleetError("INVALID_ARGUMENT", message, { reason: "DiskInvalid", details: { field: `spec.disks${place}` } });
}
