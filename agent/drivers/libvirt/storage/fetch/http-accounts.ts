import type { FindCredential } from "../../../image-driver.ts";
import type { AllowedUrl } from "./image-url.ts";

type Headers = Record<string, string>;

/**
 * Names and passwords for the servers of one image, by the Basic scheme (RFC 7617). Each is for the server that asked for it alone: where a
 * redirect leads to another one, that one is told nothing. Never in the clear, unless the host's configuration names the server so.
 */
export class HttpAccounts {
  readonly #find: FindCredential | null;
  readonly #known = new Map<string, Headers>();

  constructor(find: FindCredential | null) {
    this.#find = find;
  }

  /** What the server is told without being asked again. */
  known({ url }: AllowedUrl): Headers {
    return this.#known.get(url.origin) ?? {};
  }

  /** Null: there is none, or it must not be told. Throws UNAVAILABLE where nobody knows. */
  async find({ url, trusted }: AllowedUrl, challenge: string | string[] | undefined, signal: AbortSignal): Promise<Headers | null> {
    const schemes = [challenge ?? []].flat();
    if (this.#find === null || !schemes.some((scheme) => /(^|,)\s*basic\b/i.test(scheme))) return null;
    if (url.protocol !== "https:" && !trusted) return null;
    const credential = await this.#find(url.host, signal);
    if (credential === null) return null;
    const { username, password } = credential;
    const headers = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
    this.#known.set(url.origin, headers);
    return headers;
  }
}
