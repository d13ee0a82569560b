import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { isQcow2, MalformedQcow2, type Qcow2Header, readQcow2Header } from "./qcow2-header.ts";

export type ImageFormat = "qcow2" | "raw";

export interface ImageFacts {
  format: ImageFormat;
  virtualSize: number;
}

/** How much of a file is looked at: enough for qcow2's first cluster and for ISO 9660's descriptor behind 32 KiB. */
export const HEAD_BYTES = 65_536;

/** Above it, a size is a mistake or an attack rather than a disk. */
export const MAX_DISK_BYTES = 64 * 2 ** 40;

const SECTOR_BYTES = 512;

type Mark = readonly [offset: number, bytes: string];

/** What a disk's own content begins with. In the order of how much they prove. */
const RAW_CONTENT: readonly (readonly [name: string, ...marks: Mark[]])[] = [
  ["GPT", [512, "EFI PART"], [4096, "EFI PART"]],
  ["ISO 9660", [0x8001, "CD001"]],
  ["MBR", [510, "\x55\xaa"]],
  ["ext", [0x438, "\x53\xef"]],
  ["XFS", [0, "XFSB"]],
  ["SquashFS", [0, "hsqs"]],
  ["LVM", [512, "LABELONE"]],
];

/** Formats that look like an image to people, and would be a disk full of noise to a guest. */
const OTHER_FORMATS: readonly (readonly [name: string, ...marks: Mark[]])[] = [
  ["qcow version 1", [0, "QFI\xfb\x00\x00\x00\x01"]],
  ["VMDK", [0, "KDMV"], [0, "COWD"], [0, "# Disk DescriptorFile"]],
  ["VHDX", [0, "vhdxfile"]],
  ["VHD", [0, "conectix"]],
  ["VDI", [64, "\x7f\x10\xda\xbe"]],
  ["QED", [0, "QED\0"]],
  ["LUKS", [0, "LUKS\xba\xbe"]],
  ["gzip", [0, "\x1f\x8b"]],
  ["xz", [0, "\xfd7zXZ\0"]],
  ["Zstandard", [0, "\x28\xb5\x2f\xfd"]],
  ["bzip2", [0, "BZh"]],
  ["ZIP", [0, "PK\x03\x04"]],
  ["tar", [257, "ustar"]],
  ["an HTML page", [0, "<!DOCTYPE"], [0, "<!doctype"], [0, "<html"], [0, "<HTML"]],
  ["an ELF program", [0, "\x7fELF"]],
  // It bears the mark of an MBR, too.
  ["a Linux kernel", [0x202, "HdrS"]],
];

/**
 * What an image is, told by its content; its name may only agree. Refuses what reaches beyond the file itself (backing file, data file),
 * what cannot be read without a key, what is no image, and what is damaged. `shown` is how messages call it. `fileBytes`: null where the rest
 * is still to come and nobody knows how much it is; a raw disk's size is 0 then.
 */
export function imageFacts(shown: string, declared: ImageFormat | null, head: Buffer, fileBytes: number | null): ImageFacts {
  const other = nameOf(OTHER_FORMATS, head);
  if (other !== null) {
    throw refused(
      "ImageFormatUnknown",
      `The image ${shown} is ${other}. Convert it to qcow2 or raw (qemu-img convert -O qcow2), or unpack it.`,
    );
  }
  if (isQcow2(head)) {
    if (declared === "raw") {
      throw refused("ImageFormatUnknown", `The image ${shown} is called raw, and is qcow2. Rename it to .qcow2.`);
    }
    return { format: "qcow2", virtualSize: checkedQcow2(shown, head, fileBytes ?? Number.MAX_SAFE_INTEGER).virtualSize };
  }
  if (declared === "qcow2") throw refused("ImageFormatUnknown", `The image ${shown} is called qcow2, and is not. Is it whole?`);
  if (fileBytes === 0) throw refused("ImageMalformed", `The image ${shown} is empty.`);
  if (declared === null && nameOf(RAW_CONTENT, head) === null) {
    throw refused(
      "ImageFormatUnknown",
      `The image ${shown} is neither qcow2 nor a disk with a partition table or a file system that is known. Call it .raw if that is what it is.`,
    );
  }
  return { format: "raw", virtualSize: checkedSize(shown, Math.ceil((fileBytes ?? 0) / SECTOR_BYTES) * SECTOR_BYTES) };
}

/** What a file's name says it is; null where it says nothing (.img, none). */
export function declaredFormat(name: string): ImageFormat | null {
  if (/\.(qcow2|qcow)$/i.test(name)) return "qcow2";
  return /\.raw$/i.test(name) ? "raw" : null;
}

function checkedQcow2(shown: string, head: Buffer, fileBytes: number): Qcow2Header {
  let header: Qcow2Header;
  try {
    header = readQcow2Header(head, fileBytes);
  } catch (error) {
    if (!(error instanceof MalformedQcow2)) throw error;
    throw refused("ImageMalformed", `The image ${shown} is damaged: ${error.message}.`);
  }
  if (header.backingFile !== null) {
    throw refused(
      "ImageHasBackingFile",
      `The image ${shown} has a backing file, which could be any file of the host. Make one that stands alone: qemu-img convert -O qcow2.`,
    );
  }
  if (header.hasDataFile) {
    throw refused(
      "ImageHasDataFile",
      `The image ${shown} keeps its data in another file, which could be any file of the host. Make one that stands alone: qemu-img convert -O qcow2.`,
    );
  }
  if (header.encrypted) throw refused("ImageEncrypted", `The image ${shown} is encrypted. Decrypt it first: qemu-img convert.`);
  if (header.corrupt) throw refused("ImageMalformed", `The image ${shown} is marked as corrupt. Repair it: qemu-img check -r all.`);
  if (header.unknownFeatures.length > 0) {
    throw refused(
      "ImageFormatUnknown",
      `The image ${shown} uses features of qcow2 that are not known: bits ${header.unknownFeatures.join(", ")}.`,
    );
  }
  if (header.virtualSize === 0) throw refused("ImageMalformed", `The image ${shown} is a disk of no size.`);
  checkedSize(shown, header.virtualSize);
  return header;
}

function checkedSize(shown: string, bytes: number): number {
  if (bytes > MAX_DISK_BYTES)
    throw refused("ImageTooLarge", `The image ${shown} is a disk of ${bytes} bytes; ${MAX_DISK_BYTES} are allowed.`);
  return bytes;
}

function nameOf(formats: readonly (readonly [string, ...Mark[]])[], head: Buffer): string | null {
  for (const [name, ...marks] of formats) {
    for (const [offset, bytes] of marks) {
      if (head.subarray(offset, offset + bytes.length).toString("latin1") === bytes) return name;
    }
  }
  return null;
}

function refused(reason: string, message: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason, details: { field: "spec.image" } });
}
