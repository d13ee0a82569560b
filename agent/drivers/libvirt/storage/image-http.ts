import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { Agent, type Dispatcher, request } from "undici";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { isForbidden } from "./forbidden-addresses.ts";
import { type AllowedUrl, forbiddenAddress, type ImageUrlRules, withoutSecrets } from "./image-url.ts";

export interface HttpLimits {
  connectTimeoutMs: number;
  /** Without a byte from the server. */
  idleTimeoutMs: number;
  maxRedirects: number;
}

/** A transfer that broke, or a server that has trouble: it is tried again. */
export class TransferBroken extends Error {
  override readonly name = "TransferBroken";
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

class AddressRefused extends Error {
  readonly code = "FLEETGRAPH_ADDRESS_REFUSED";
}

/**
 * GET requests for images. Each URL on the way is checked, and so is the address that its name leads to: connections are made to the
 * addresses that were checked, so that a name which changes its answer gains nothing.
 */
export class ImageHttp {
  readonly #rules: ImageUrlRules;
  readonly #limits: HttpLimits;
  readonly #anywhere: Agent;
  readonly #checked: Agent;

  constructor(rules: ImageUrlRules, limits: HttpLimits) {
    this.#rules = rules;
    this.#limits = limits;
    const { connectTimeoutMs, idleTimeoutMs } = limits;
    const options = { headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs, keepAliveTimeout: 1000, maxResponseSize: -1 };
    this.#anywhere = new Agent({ ...options, connect: { timeout: connectTimeoutMs } });
    this.#checked = new Agent({ ...options, connect: { timeout: connectTimeoutMs, lookup: checkedLookup } });
  }

  /** The answer to a GET, behind all redirects. The body must be read or destroyed. */
  async get(text: string, headers: Record<string, string>, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let target = this.#rules.check(text);
    for (let hops = 0; ; hops++) {
      const response = await this.#request(target, headers, signal);
      if (!REDIRECTS.has(response.statusCode)) return response;
      discard(response.body);
      const { location } = response.headers;
      if (typeof location !== "string") throw failed(`${withoutSecrets(target.url)} answered with a redirect that leads nowhere.`);
      if (hops === this.#limits.maxRedirects) throw failed(`${withoutSecrets(target.url)}: more than ${hops} redirects.`);
      target = this.#rules.checkRedirect(target.url, location);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#anywhere.destroy(), this.#checked.destroy()]);
  }

  async #request({ url, trusted }: AllowedUrl, headers: Record<string, string>, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    try {
      // What is asked for is the file itself: offsets and sizes would not fit a compressed one.
      const all = { "accept-encoding": "identity", "user-agent": "fleetgraph-agent", ...headers };
      return await request(url, { headers: all, signal, dispatcher: trusted ? this.#anywhere : this.#checked });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AddressRefused) throw forbiddenAddress(url);
      if (url.protocol === "https:" && isAboutTrust(error))
        throw failed(`${withoutSecrets(url)}: its certificate is not trusted (${reasonOf(error)}).`, error);
      throw new TransferBroken(`${withoutSecrets(url)}: ${reasonOf(error)}`, { cause: error });
    }
  }
}

/** Ends a body that nobody wants to the end; the connection goes with it. */
export function discard(body: Dispatcher.ResponseData["body"]): void {
  body.on("error", () => undefined).destroy();
}

/** For what is not worth another attempt. */
export function failed(message: string, cause?: unknown): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The image cannot be fetched. ${message}`, { reason: "ImageFetchFailed", cause });
}

/** Without what undici and Node say about addresses. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string") return REASONS[code] ?? code;
  return error instanceof Error ? error.message : String(error);
}

/** OpenSSL's and Node's codes: SELF_SIGNED_CERT_IN_CHAIN, ERR_TLS_CERT_ALTNAME_INVALID, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, … */
function isAboutTrust(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /CERT|SIGNATURE|CRL/.test(code);
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was reset",
  ENOTFOUND: "the host's name is not known",
  EAI_AGAIN: "the host's name cannot be resolved now",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  UND_ERR_CONNECT_TIMEOUT: "the connection took too long",
  UND_ERR_HEADERS_TIMEOUT: "the server did not answer in time",
  UND_ERR_BODY_TIMEOUT: "the server stopped sending",
  UND_ERR_SOCKET: "the connection broke",
  UND_ERR_ABORTED: "the connection broke",
};

/** As dns.lookup, without addresses that must not be connected to; fails where none is left. */
const checkedLookup: LookupFunction = (hostname, options, callback) => {
  dnsLookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    if (error !== null) {
      callback(error, []);
      return;
    }
    const allowed = found.filter(({ address }) => !isForbidden(address));
    const [first] = allowed;
    // One bad answer among good ones is a name that plays games.
    if (first === undefined || allowed.length < found.length) {
      callback(new AddressRefused(`${hostname} leads to an address that is not allowed.`), []);
    } else if (options.all === true) {
      callback(null, allowed);
    } else {
      callback(null, first.address, first.family);
    }
  });
};
