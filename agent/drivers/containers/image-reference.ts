import { invalid } from "../shared/refusals.ts";

/** Where names without a registry come from, as Docker has it; podman's Docker API does the same. */
const DEFAULT_REGISTRY = "docker.io";
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";
const MAX_LENGTH = 512;

const REGISTRY =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * An image's name in full: registry/path:tag or registry/path@digest. The tag is always there: without one, the engine would fetch every
 * tag there is. An image's id (sha256:…) stays as it is: it can be used, and not be fetched.
 */
export function imageReference(text: string): string {
  if (text === "")
    throw invalid("ImageRequired", "spec.image", "A container needs an image: name one, such as docker.io/library/nginx:1.27.");
  if (DIGEST.test(text)) return text;
  if (text.length > MAX_LENGTH) throw wrong(text, `it is longer than ${MAX_LENGTH} characters`);
  if (/^[a-z]+:\/\//i.test(text)) throw wrong(text, "it is a URL; containers take their images from registries");
  const [name = "", digest, ...more] = text.split("@");
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) throw wrong(text, "what follows its @ is no sha256 digest");
  const tagAt = name.indexOf(":", name.lastIndexOf("/") + 1);
  const tag = tagAt < 0 ? undefined : name.slice(tagAt + 1);
  const { registry, path } = split(tagAt < 0 ? name : name.slice(0, tagAt));
  if (!REGISTRY.test(registry)) throw wrong(text, "what stands before its first / is no registry");
  if (!PATH.test(path)) throw wrong(text, "its path has small letters, digits and single . _ - / between them");
  if (tag !== undefined && !TAG.test(tag)) throw wrong(text, "its tag has up to 128 letters, digits, '.', '_' and '-'");
  const repository = `${registry}/${path}`;
  // The engines refuse a tag beside a digest, which says it all.
  return digest === undefined ? `${repository}:${tag ?? DEFAULT_TAG}` : `${repository}@${digest}`;
}

export function isImageId(reference: string): boolean {
  return DIGEST.test(reference);
}

/** `host` or `host:port` of a reference in full. */
export function registryOf(reference: string): string {
  return reference.slice(0, reference.indexOf("/"));
}

/** The first word is a registry where it looks like a host's name: "localhost", or with a dot or a port. */
function split(name: string): { registry: string; path: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  if (first === "localhost" || /[.:[]/.test(first)) return { registry: first, path: name.slice(slash + 1) };
  return { registry: DEFAULT_REGISTRY, path: slash < 0 ? `${DEFAULT_NAMESPACE}/${name}` : name };
}

function wrong(text: string, why: string) {
  // Before an @ there may be a password, which is in the wrong place and must not be shown.
  const shown = text.includes("@") ? "spec.image" : `The image ${JSON.stringify(text.slice(0, 200))}`;
  return invalid("ImageReferenceInvalid", "spec.image", `${shown} cannot be used: ${why}. Write it as registry/path:tag.`);
}
