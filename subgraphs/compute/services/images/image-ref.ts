import { type FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { ImageType } from "./image-types.ts";

const MAX_URL = 2_048;
const MAX_REFERENCE = 512;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const SCHEMES: ReadonlySet<string> = new Set(["http:", "https:", "file:"]);

/** Where names without a registry come from, as Docker has it. */
const DEFAULT_REGISTRY = "docker.io";
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";

const REGISTRY =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** What the reference is of: a URL is a disk image, anything else a container's. */
export function imageTypeOf(ref: string): ImageType {
  return SCHEME.test(ref) ? "VM" : "CONTAINER";
}

/** A reference that can be pulled, as it was given. Throws INVALID_ARGUMENT, which never shows what may be a password. */
export function checkImageRef(field: string, ref: string, type: ImageType): string {
  if (ref === "") throw invalidArgument(field, "An image is needed: a URL of a disk image, or a container image's reference.");
  if (/[\s\p{Cc}]/u.test(ref) || !ref.isWellFormed()) throw invalidArgument(field, "An image has no white space in its name.");
  if (type === "VM") checkUrl(field, ref);
  else checkReference(field, ref);
  return ref;
}

/** A container image's reference with the registry and the tag that go without saying; what is none comes back as it is. */
export function fullReference(text: string): string {
  const { registry, path, tag, digest } = partsOf(text);
  if (!PATH.test(path)) return text;
  return `${registry}/${path}${digest === undefined ? `:${tag ?? DEFAULT_TAG}` : `@${digest}`}`;
}

/** Without the query, which may hold a signature that is worth a password. */
export function withoutQuery(ref: string): string {
  const at = SCHEME.test(ref) ? ref.indexOf("?") : -1;
  return at < 0 ? ref : ref.slice(0, at);
}

/** INVALID_ARGUMENT for a URL with a user name or a password in it: it would be kept, and shown to all. */
export function refuseUserInfo(field: string, ref: string): void {
  const url = SCHEME.test(ref) ? URL.parse(ref) : null;
  if (url !== null && (url.username !== "" || url.password !== "")) throw hasUserInfo(field);
}

function checkUrl(field: string, text: string): void {
  const url = text.length <= MAX_URL ? URL.parse(text) : null;
  if (url === null || !SCHEME.test(text)) {
    throw invalidArgument(field, `A disk image is pulled by its URL (http, https or file), of at most ${MAX_URL} characters.`);
  }
  if (!SCHEMES.has(url.protocol)) {
    throw invalidArgument(field, `Disk images are pulled by http, https and file, not by ${url.protocol.slice(0, -1)}.`);
  }
  refuseUserInfo(field, text);
  if (url.hash !== "") throw invalidArgument(field, "What follows the # of a URL is never sent: leave it out.");
  if (url.protocol === "file:" && url.host !== "") throw invalidArgument(field, "A file's URL has three slashes: file:///path.");
}

/** registry/path:tag, or registry/path@sha256:…; Docker's own registry where none is named. */
function checkReference(field: string, text: string): void {
  if (SCHEME.test(text))
    throw invalidArgument(field, "Containers take their images from registries: write registry/path:tag, without a scheme.");
  if (text.length > MAX_REFERENCE) throw wrong(field, `it is longer than ${MAX_REFERENCE} characters`);
  if (DIGEST.test(text)) throw wrong(field, "a registry cannot be asked for an image's id alone");
  const { registry, path, tag, digest } = partsOf(text);
  if (digest !== undefined && !DIGEST.test(digest)) {
    // In the place of a user name and its password, perhaps.
    throw digest.includes("/") ? hasUserInfo(field) : wrong(field, "what follows its @ is no sha256 digest");
  }
  if (!REGISTRY.test(registry)) throw wrong(field, "what stands before its first / is no registry");
  if (!PATH.test(path)) throw wrong(field, "its path has small letters, digits and single . _ - / between them");
  if (tag !== undefined && !TAG.test(tag)) throw wrong(field, "its tag has up to 128 letters, digits, '.', '_' and '-'");
}

/** The first word is a registry where it looks like a host's name: "localhost", or with a dot or a port. */
function partsOf(text: string): { registry: string; path: string; tag: string | undefined; digest: string | undefined } {
  const at = text.indexOf("@");
  const [name, digest] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  const tagAt = name.indexOf(":", name.lastIndexOf("/") + 1);
  const tag = tagAt < 0 ? undefined : name.slice(tagAt + 1);
  const repository = tagAt < 0 ? name : name.slice(0, tagAt);
  const slash = repository.indexOf("/");
  const first = repository.slice(0, Math.max(slash, 0));
  if (first === "localhost" || /[.:[]/.test(first)) return { registry: first, path: repository.slice(slash + 1), tag, digest };
  return { registry: DEFAULT_REGISTRY, path: slash < 0 ? `${DEFAULT_NAMESPACE}/${repository}` : repository, tag, digest };
}

function wrong(field: string, why: string): FleetError {
  return invalidArgument(field, `The image's reference cannot be used: ${why}. Write it as registry/path:tag.`);
}

function hasUserInfo(field: string): FleetError {
  return invalidArgument(
    field,
    "The image's reference holds a user name or a password, which would be kept and shown. Leave them out, and set them by setRegistryCredential.",
  );
}
