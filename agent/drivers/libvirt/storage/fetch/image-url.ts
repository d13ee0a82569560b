import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { addressInHost, isForbidden } from "./forbidden-addresses.ts";

/** A URL that images may be fetched from. */
export interface AllowedUrl {
  url: URL;
  /** The host's configuration names it: it may lead to any address. Otherwise the address is checked when it is known. */
  trusted: boolean;
}

const MAX_URL_CHARACTERS = 2048;

/**
 * Which URLs images may come from: those that begin with a configured prefix, or, where there are none, all but the host's own addresses.
 * Files of the host only where a prefix names their folder.
 */
export class ImageUrlRules {
  readonly #prefixes: URL[];

  /** INVALID_ARGUMENT for a prefix that is no http, https or file URL. */
  constructor(prefixes: readonly string[]) {
    this.#prefixes = prefixes.map((prefix) => parse(prefix));
  }

  /** INVALID_ARGUMENT ImageUrlInvalid for what is no URL to fetch from, FAILED_PRECONDITION ImageUrlNotAllowed for what the host does not allow. */
  check(text: string): AllowedUrl {
    const url = parse(text);
    if (this.#prefixes.length > 0) {
      if (this.#prefixes.some((prefix) => begins(url, prefix))) return { url, trusted: true };
      throw notAllowed(`${withoutSecrets(url)} begins with none of the prefixes that this host fetches images from.`);
    }
    if (url.protocol === "file:") {
      throw notAllowed(
        `This host takes no images from its own files. Where that is meant, name their folder (agent.imageUrls: file:///…/).`,
      );
    }
    const address = addressInHost(url.hostname);
    if (address !== null && isForbidden(address)) throw forbiddenAddress(url);
    return { url, trusted: false };
  }

  /** The prefixes that are folders of the host. */
  get folders(): readonly URL[] {
    return this.#prefixes.filter(({ protocol }) => protocol === "file:");
  }

  /** Where a server sends the request on to: as `check`, and never from https to http. */
  checkRedirect(from: URL, location: string): AllowedUrl {
    const target = URL.parse(location, from.href);
    if (target === null) throw invalid("A server answered with a redirect to what is no URL.");
    if (target.protocol === "file:") throw notAllowed(`${withoutSecrets(from)} leads to a file of the host.`);
    if (from.protocol === "https:" && target.protocol !== "https:") {
      throw notAllowed(`${withoutSecrets(from)} leads to ${withoutSecrets(target)}, which is not encrypted.`);
    }
    return this.check(target.href);
  }
}

/** For messages and the log: a query may hold a signature that is worth a password. */
export function withoutSecrets(url: URL): string {
  return url.protocol === "file:" ? `file://${url.pathname}` : `${url.origin}${url.pathname}`;
}

export function forbiddenAddress(url: URL): FleetError {
  return notAllowed(
    `${withoutSecrets(url)} leads to an address of the host itself, of its link, or of a cloud's metadata service. Where that is meant, allow its prefix in the host's configuration (agent.imageUrls).`,
  );
}

function parse(text: string): URL {
  const url = text.length <= MAX_URL_CHARACTERS ? URL.parse(text) : null;
  if (url === null) throw invalid(`The image is no URL of at most ${MAX_URL_CHARACTERS} characters.`);
  if (!["http:", "https:", "file:"].includes(url.protocol))
    throw invalid(`Images are fetched by http and https, and from files; not by ${url.protocol.slice(0, -1)}.`);
  if (url.protocol === "file:" && url.host !== "") throw invalid("A file's URL begins with file:/// and names no other host.");
  if (url.username !== "" || url.password !== "")
    throw invalid("The image's URL holds a user name or a password, which would be kept and shown.");
  // A server may read %2f as a path does: ..%2f would lead out of a prefix.
  const segments = decoded(url.pathname).split(/[/\\]/);
  if (segments.includes("..") || segments.includes(".")) throw invalid('The path of the image\'s URL holds a hidden "..".');
  url.hash = "";
  return url;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalid("The path of the image's URL is not encoded as it should be.");
  }
}

/** The same server (or none), and a path that is the prefix or goes on behind it at a "/". */
function begins(url: URL, prefix: URL): boolean {
  if (url.protocol !== prefix.protocol || url.host !== prefix.host) return false;
  if (url.pathname === prefix.pathname) return true;
  return url.pathname.startsWith(prefix.pathname.endsWith("/") ? prefix.pathname : `${prefix.pathname}/`);
}

function invalid(message: string): FleetError {
  return new FleetError("INVALID_ARGUMENT", message, { reason: "ImageUrlInvalid", details: { field: "spec.image" } });
}

export function notAllowed(message: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason: "ImageUrlNotAllowed", details: { field: "spec.image" } });
}
