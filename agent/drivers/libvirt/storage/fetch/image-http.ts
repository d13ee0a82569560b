import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { Agent, type Dispatcher, request } from "undici";
import type { FindCredential } from "../../../image-driver.ts";
import { TransferBroken } from "./byte-source.ts";
import { failed, isAboutTrust, reasonOf } from "./fetch-errors.ts";
import { isForbidden } from "./forbidden-addresses.ts";
import { HttpAccounts } from "./http-accounts.ts";
import { type AllowedUrl, forbiddenAddress, type ImageUrlRules, withoutSecrets } from "./image-url.ts";

export interface HttpLimits {
  connectTimeoutMs: number;
  /** Without a byte from the server. */
  idleTimeoutMs: number;
  maxRedirects: number;
}

type Headers = Record<string, string>;

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
  readonly #findCredential: FindCredential | null;
  readonly #anywhere: Agent;
  readonly #checked: Agent;

  constructor(rules: ImageUrlRules, limits: HttpLimits, findCredential: FindCredential | null) {
    this.#rules = rules;
    this.#limits = limits;
    this.#findCredential = findCredential;
    const { connectTimeoutMs, idleTimeoutMs } = limits;
    const options = { headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs, keepAliveTimeout: 1000, maxResponseSize: -1 };
    this.#anywhere = new Agent({ ...options, connect: { timeout: connectTimeoutMs } });
    this.#checked = new Agent({ ...options, connect: { timeout: connectTimeoutMs, lookup: checkedLookup } });
  }

  /** For one image: the accounts that its servers ask for are kept as long as this is. */
  accounts(): HttpAccounts {
    return new HttpAccounts(this.#findCredential);
  }

  /** The answer to a GET, behind all redirects. The body must be read or discarded. */
  async get(text: string, headers: Headers, accounts: HttpAccounts, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let target = this.#rules.check(text);
    for (let hops = 0; ; hops++) {
      const response = await this.#request(target, headers, accounts, signal);
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

  /** Asks once more, by name and password, where a server wants them and there are some for it. */
  async #request(target: AllowedUrl, headers: Headers, accounts: HttpAccounts, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const known = accounts.known(target);
    const response = await this.#send(target, { ...headers, ...known }, signal);
    if (response.statusCode !== 401 || Object.keys(known).length > 0) return response;
    const found = await accounts.find(target, response.headers["www-authenticate"], signal).catch((error: unknown) => {
      discard(response.body);
      throw error;
    });
    if (found === null) return response;
    discard(response.body);
    return await this.#send(target, { ...headers, ...found }, signal);
  }

  async #send({ url, trusted }: AllowedUrl, headers: Headers, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
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
