import { posix } from "node:path";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { isXmlText } from "../xml.ts";

/** What an instance's specification calls an image or a kernel by. */
export type ImageReference = { kind: "url"; url: string } | { kind: "name"; name: string };

/** The field of the specification that a name stands in. */
export type ImageField = "image" | "kernel" | "initrd";

const MAX_NAME_BYTES = 255;
/** Tried in this order, after the name itself. */
const ENDINGS = ["", ".qcow2", ".img", ".raw"];
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** What Fleetgraph keeps for itself where a directory serves several purposes: images by URL, and the disks of instances. */
const OWN_NAMES = /^(url-[0-9a-f]{32}|inst-[a-z0-9]+)[.-]/;

/**
 * A name in the image directory, that directory's path and a name, or (images only) a URL. Whatever could lead out of the directory is
 * INVALID_ARGUMENT ImageNameInvalid.
 */
export function parseImageReference(text: string, field: ImageField, imageDir: string): ImageReference {
  if (SCHEME.test(text)) {
    if (field === "image") return { kind: "url", url: text };
    throw invalid(field, text, "is a URL; kernels and initial RAM disks are files of the image directory");
  }
  const name = text.startsWith("/") ? nameInDirectory(text, field, imageDir) : text;
  if (name === "" || Buffer.byteLength(name) > MAX_NAME_BYTES) throw invalid(field, text, "is no file name");
  if (name.startsWith(".")) throw invalid(field, text, 'begins with "."');
  if (/[/\\]/.test(name)) throw invalid(field, text, "holds a path; images are called by their file name");
  if (!isXmlText(name) || /\p{Cc}/u.test(name)) throw invalid(field, text, "holds control characters");
  if (isOwnName(name)) throw invalid(field, text, "is kept for files that Fleetgraph made itself");
  return { kind: "name", name };
}

/** The files that a name may mean; the first that is there counts. */
export function candidates(name: string): string[] {
  return ENDINGS.map((ending) => name + ending).filter((candidate) => Buffer.byteLength(candidate) <= MAX_NAME_BYTES);
}

export function isOwnName(name: string): boolean {
  return OWN_NAMES.test(name);
}

function nameInDirectory(path: string, field: ImageField, imageDir: string): string {
  const directory = posix.join(imageDir, "/");
  if (!path.startsWith(directory) || posix.normalize(path) !== path) {
    throw invalid(field, path, `is not in the host's image directory, ${posix.normalize(imageDir)}`);
  }
  return path.slice(directory.length);
}

function invalid(field: ImageField, text: string, why: string): FleetError {
  const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
  return new FleetError("INVALID_ARGUMENT", `The ${field} ${shown} ${why}.`, {
    reason: "ImageNameInvalid",
    details: { field: `spec.${field}` },
  });
}
