import { appendFile, readFile } from "node:fs/promises";
import { z } from "zod";
import { Backoff, pause } from "../../agent/control-plane/backoff.ts";
import { reactionTo } from "../../agent/control-plane/refusals.ts";
import type { AgentCredentials } from "../../agent/identity/credentials.ts";
import { acceptCertificate, CONTROL_PEERS } from "../../agent/identity/enrollment.ts";
import { parseJoinToken } from "../../agent/identity/join-token.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { readOnlyCa } from "../../platform/tls/certificate-authority.ts";
import { createCertificateRequest } from "../../platform/tls/certificate-request.ts";
import { fetchPinnedCa } from "../../platform/tls/pinned-ca.ts";
import { EnrollmentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";

const keptIdentity = z.object({
  hostname: z.string(),
  agentId: z.string(),
  keyPem: z.string(),
  certificatePem: z.string(),
  caPem: z.string(),
});

interface Enrolment {
  client: GrpcClient<typeof EnrollmentServiceDefinition>;
  secret: string;
  caPem: string;
  close(): void;
}

export interface SimulatedIdentitiesOptions {
  /** One line of JSON per identity, the newest of an agent last; made where it is missing. */
  file: string;
  /** Of the fleet's CA: identities of another fleet are not used. */
  caFingerprint: string;
  /** Asked when the first agent has to join. */
  joinToken: () => Promise<string>;
  /** host:port. */
  controlPlane: string;
  log: Logger;
  signal: AbortSignal;
}

const BACKOFF = { firstMs: 1000, longestMs: 15_000 };

/**
 * The identities of simulated agents: a key and a certificate each, by a real enrolment. Unlike a real agent's they stand in one file that is
 * not flushed for each of them: thousands are made at once. One that the machine lost in a crash is made again, but its hostname stays the
 * former one's until that node is deregistered; another `prefix` helps at once.
 */
export class SimulatedIdentities {
  readonly #options: SimulatedIdentitiesOptions;
  readonly #known: Map<string, AgentCredentials>;
  #enrolment: Promise<Enrolment> | null = null;

  private constructor(options: SimulatedIdentitiesOptions, known: Map<string, AgentCredentials>) {
    this.#options = options;
    this.#known = known;
  }

  static async open(options: SimulatedIdentitiesOptions): Promise<SimulatedIdentities> {
    const text = await readFile(options.file, "utf8").catch(() => "");
    const known = new Map<string, AgentCredentials>();
    for (const line of text.split("\n")) {
      const kept = parseLine(line);
      if (kept !== null && readOnlyCa(kept.caPem).fingerprint === options.caFingerprint) known.set(kept.hostname, kept);
    }
    return new SimulatedIdentities(options, known);
  }

  /** The identity that the host has, or a new one. Waits for a control plane that cannot be reached; throws what it answers. */
  async of(hostname: string): Promise<AgentCredentials> {
    const known = this.#known.get(hostname);
    if (known !== undefined) return known;
    const { keyPem, requestDer } = await createCertificateRequest();
    const credentials = await this.#patiently(async () => {
      this.#enrolment ??= this.#openEnrolment().catch((error: unknown) => {
        this.#enrolment = null;
        throw error;
      });
      const { client, secret, caPem } = await this.#enrolment;
      const response = await client.join({ token: secret, certificateRequest: requestDer }, { signal: this.#options.signal });
      return acceptCertificate(response, keyPem, caPem);
    });
    await this.keep(hostname, credentials);
    return credentials;
  }

  /** The host's identity from now on. The file keeps former ones; the last line of a host counts. */
  async keep(hostname: string, credentials: AgentCredentials): Promise<void> {
    this.#known.set(hostname, credentials);
    await appendFile(this.#options.file, `${JSON.stringify({ hostname, ...credentials })}\n`, { mode: 0o600 });
  }

  /** Ends the connection over which agents joined. */
  async close(): Promise<void> {
    const enrolment = this.#enrolment;
    this.#enrolment = null;
    (await enrolment?.catch(() => null))?.close();
  }

  async #openEnrolment(): Promise<Enrolment> {
    const { joinToken, controlPlane, signal } = this.#options;
    const token = parseJoinToken(await joinToken());
    const ca = await fetchPinnedCa({ ...parseHostPort(controlPlane), fingerprint: token.caFingerprint, signal });
    const channel = createGrpcChannel(controlPlane, { caPem: ca.certificatePem, peerUri: CONTROL_PEERS });
    const client = grpcClient(EnrollmentServiceDefinition, channel, { defaultDeadlineMs: 15_000 });
    return { client, secret: token.secret, caPem: ca.certificatePem, close: () => channel.close() };
  }

  async #patiently<T>(attempt: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(BACKOFF);
    for (;;) {
      try {
        return await attempt();
      } catch (thrown) {
        const error = FleetError.from(thrown);
        if (this.#options.signal.aborted || error.code === "INTERNAL" || reactionTo(error) === "wait") throw error;
        const { log, controlPlane, signal } = this.#options;
        log.warn({ code: error.code, err: error, controlPlane }, "waiting for the control plane, to join");
        await pause(backoff.next(), signal);
      }
    }
  }
}

/** Null for what a killed process left half written. */
function parseLine(line: string): (AgentCredentials & { hostname: string }) | null {
  try {
    return keptIdentity.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
