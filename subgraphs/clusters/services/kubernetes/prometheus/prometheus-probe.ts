import { type LookupAddress, lookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { Agent, request } from "undici";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { KubernetesApi } from "../../../../kit/kubernetes/types.ts";
import type { Place } from "./places.ts";
import { addressRefusal, type ProbeRules } from "./probe-address.ts";

export interface PrometheusProbeParts {
  api: Pick<KubernetesApi, "stream">;
  rules: ProbeRules;
  /** Of one question, in milliseconds. */
  timeoutMs: number;
}

const CONFIG_PATH = "/api/v1/status/config";
/** How Prometheus' answer begins; the rest of it may be large, and is not read. */
const BEGINNING = /^\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\{\s*"yaml"\s*:/;
const ENOUGH_BYTES = 512;

/**
 * Asks a place whether Prometheus is there. What leads there was written by others: only HTTP and HTTPS, no redirects, no credentials, the name
 * resolved once and its address checked, and only the beginning of the answer is read.
 */
export class PrometheusProbe {
  readonly #parts: PrometheusProbeParts;

  constructor(parts: PrometheusProbeParts) {
    this.#parts = parts;
  }

  /** Why it is not there, in a sentence; null: it is. Throws only what `signal` aborts with. */
  async ask(place: Place, signal: AbortSignal): Promise<string | null> {
    const { timeoutMs } = this.#parts;
    const done = new AbortController();
    const deadline = AbortSignal.timeout(timeoutMs);
    const own = AbortSignal.any([signal, done.signal, deadline]);
    try {
      const beginning = await (place.proxyPath === null ? this.#directly(place.url, own) : this.#throughApi(place.proxyPath, own));
      return BEGINNING.test(beginning) ? null : "It answers, but not as Prometheus does.";
    } catch (error) {
      signal.throwIfAborted();
      return deadline.aborted ? `No answer within ${timeoutMs / 1000} s.` : sentenceOf(error);
    } finally {
      done.abort();
    }
  }

  async #throughApi(proxyPath: string, signal: AbortSignal): Promise<string> {
    const { api, timeoutMs } = this.#parts;
    return beginningOf(await api.stream(proxyPath + CONFIG_PATH, { signal, timeoutMs }));
  }

  async #directly(base: string, signal: AbortSignal): Promise<string> {
    const { rules, timeoutMs } = this.#parts;
    const url = new URL(base + CONFIG_PATH);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const refusal = isIP(host) === 0 ? null : addressRefusal(host, rules);
    if (refusal !== null) throw new FleetError("INVALID_ARGUMENT", refusal);
    const agent = new Agent({ connect: { lookup: checkedLookup(rules), timeout: timeoutMs }, connections: 1, pipelining: 1 });
    try {
      const { statusCode, body } = await request(url, { dispatcher: agent, signal, headers: { accept: "application/json" } });
      body.on("error", () => undefined);
      if (statusCode !== 200) throw new FleetError("UNAVAILABLE", `It answers with HTTP ${statusCode}.`);
      return await beginningOf(body);
    } finally {
      await agent.destroy();
    }
  }
}

async function beginningOf(body: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of body) {
    text += chunk.subarray(0, ENOUGH_BYTES).toString("latin1");
    if (text.length >= ENOUGH_BYTES) break;
  }
  return text;
}

/** As `dns.lookup`, of addresses that may be asked: what is connected to is what was checked. */
function checkedLookup(rules: ProbeRules): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const allowed = error ? [] : found.filter(({ address }) => addressRefusal(address, rules) === null);
      const [first] = allowed;
      if (error) return done(error, "");
      if (first === undefined) return done(new FleetError("INVALID_ARGUMENT", refusalOf(found, rules)), "");
      if (options.all) return done(null, allowed);
      done(null, first.address, first.family);
    });
  };
}

function refusalOf(found: LookupAddress[], rules: ProbeRules): string {
  const [refusal = "Its name has no address."] = found.map(({ address }) => addressRefusal(address, rules) ?? "");
  return refusal;
}

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "The connection is refused.",
  ECONNRESET: "The connection was closed before the answer.",
  UND_ERR_SOCKET: "The connection was closed before the answer.",
  EHOSTUNREACH: "The host is not reachable.",
  ENETUNREACH: "The network is not reachable.",
  ETIMEDOUT: "No connection within its time.",
  UND_ERR_CONNECT_TIMEOUT: "No connection within its time.",
  ENOTFOUND: "Its name is not known.",
  EAI_AGAIN: "Its name cannot be looked up now.",
};

function sentenceOf(error: unknown): string {
  if (error instanceof FleetError) return error.message.slice(0, 300);
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== "string") return "It could not be asked.";
  if (/CERT|VERIFY|^ERR_TLS/.test(code)) return `Its certificate is not accepted (${code}).`;
  if (code.startsWith("HPE_")) return "It does not speak HTTP.";
  return SENTENCES[code] ?? `It could not be asked (${code}).`;
}
