import type { IncomingMessage } from "node:http";

/** Which pages may talk to the gateway: those it serves itself, and those it is configured for. */
export class Origins {
  readonly #allowed: ReadonlySet<string>;

  /** `https://host[:port]` each; "*" allows every page. */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = new Set(allowed.map((origin) => (origin === "*" ? origin : (URL.parse(origin)?.origin ?? origin))));
  }

  /** True without an Origin header too: what is not a browser sends none. */
  allows(request: IncomingMessage): boolean {
    const { origin, host } = request.headers;
    if (origin === undefined || this.listed(origin)) return true;
    return host !== undefined && URL.parse(origin)?.host === host.toLowerCase();
  }

  /** True where another site's page may read the answers. */
  listed(origin: string): boolean {
    return this.#allowed.has("*") || this.#allowed.has(origin);
  }
}
