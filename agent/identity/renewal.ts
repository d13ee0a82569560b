import { X509Certificate } from "node:crypto";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { renewalTime } from "../../platform/tls/certificate-files.ts";
import { createCertificateRequest } from "../../platform/tls/certificate-request.ts";
import { Backoff, pause } from "../control-plane/backoff.ts";
import type { ControlPlaneConnection } from "../control-plane/connection.ts";
import type { AgentCredentials } from "./credentials.ts";
import { acceptCertificate } from "./enrollment.ts";

export interface RenewalOptions {
  credentials: AgentCredentials;
  connection: ControlPlaneConnection;
  /** Keeps the new credentials for the next start; they are not used before that. */
  save: (credentials: AgentCredentials) => Promise<void>;
  /** Gets the new credentials, which are saved by then. */
  onRenewed: (credentials: AgentCredentials) => void;
  log: Logger;
}

/** The clock may be set while this waits: it looks again at least this often. */
const LOOK_EVERY_MS = 3_600_000;
const BACKOFF = { firstMs: 30_000, longestMs: 1_800_000 };
const MIN_RETRY_MS = 1000;

/**
 * Renews the agent's certificate, with a new key, at a random time in the first half of the last third of its life: agents that joined together
 * do not renew together, and there is time for a control plane that is away.
 */
export class CertificateRenewal {
  readonly #options: RenewalOptions;
  readonly #backoff = new Backoff(BACKOFF);
  #credentials: AgentCredentials;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await waitUntil(renewAt(this.#credentials.certificatePem), signal);
      while (!signal.aborted && !(await this.#renew(signal))) await pause(this.#retryMs(), signal);
      this.#backoff.reset();
    }
  }

  /** False where it failed. */
  async #renew(signal: AbortSignal): Promise<boolean> {
    const { connection, save, log, onRenewed } = this.#options;
    try {
      const { keyPem, requestDer } = await createCertificateRequest();
      const response = await connection.main.enrollment.renew({ certificateRequest: requestDer }, { signal });
      const renewed = acceptCertificate(response, keyPem, this.#credentials.caPem);
      if (renewed.agentId !== this.#credentials.agentId)
        throw new FleetError("FAILED_PRECONDITION", "The new certificate is another agent's.");
      await save(renewed);
      this.#credentials = renewed;
      onRenewed(renewed);
      log.info({ notAfter: response.notAfter }, "renewed the certificate");
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const endsAt = endOf(this.#credentials);
      if (endsAt <= Date.now()) log.error({ err: error }, "the certificate has ended: join again with a new token");
      else log.warn({ err: error, endsAt: new Date(endsAt) }, "the certificate could not be renewed");
      return false;
    }
  }

  /** Never so late that the certificate ends while it waits, as long as it has not. */
  #retryMs(): number {
    const left = endOf(this.#credentials) - Date.now();
    const pauseMs = this.#backoff.next();
    return left > 0 ? Math.min(pauseMs, Math.max(MIN_RETRY_MS, left / 4)) : pauseMs;
  }
}

function renewAt(certificatePem: string): number {
  const first = renewalTime(certificatePem).getTime();
  const end = new X509Certificate(certificatePem).validToDate.getTime();
  return first + (Math.random() * (end - first)) / 2;
}

function endOf({ certificatePem }: AgentCredentials): number {
  return new X509Certificate(certificatePem).validToDate.getTime();
}

/** By the wall clock, which the certificate's dates are in. */
async function waitUntil(time: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && Date.now() < time) await pause(Math.min(LOOK_EVERY_MS, time - Date.now()), signal);
}
