import type { Channel } from "nice-grpc";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { EnrollmentServiceDefinition, InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition, type ServiceEndpoint } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { CONTROL_PEERS } from "../identity/enrollment.ts";

/** Half of the shortest sensible heartbeat interval: a call that hangs must not cost the lease. */
const DEADLINE_MS = 5000;

/** One connection, and the clients on it. */
export interface Link {
  readonly cluster: GrpcClient<typeof ClusterServiceDefinition>;
  readonly enrollment: GrpcClient<typeof EnrollmentServiceDefinition>;
  readonly inventory: GrpcClient<typeof InventoryServiceDefinition>;
}

/**
 * The agent's connections to the control plane, mTLS with the agent's own certificate: one to each address in use. A connection that
 * failed is thrown away, so that the next attempt opens a new one at the time that the caller's back-off chose, with the newest certificate.
 */
export class ControlPlaneConnection {
  readonly #address: string;
  readonly #caPem: string;
  readonly #links = new Map<string, { link: Link; channel: Channel }>();
  #pair: KeyPair;
  #endpoints = new Map<string, string>();

  constructor(address: string, caPem: string, pair: KeyPair) {
    this.#address = address;
    this.#caPem = caPem;
    this.#pair = pair;
  }

  /** To the control plane's own address. */
  get main(): Link {
    return this.#link(this.#address);
  }

  /** To where the control plane said that this service is (by its full name), or to its own address. */
  linkFor(service: string): Link {
    return this.#link(this.#endpoints.get(service) ?? this.#address);
  }

  /** As a registration's answer told them; replaces what was told before. */
  setEndpoints(endpoints: readonly ServiceEndpoint[]): void {
    this.#endpoints = new Map(endpoints.map(({ service, address }) => [service, address]));
    const used = new Set([this.#address, ...this.#endpoints.values()]);
    for (const address of this.#links.keys()) if (!used.has(address)) this.#drop(address);
  }

  /** New connections show this certificate; calls that are under way finish on the old one. */
  replaceCertificate(pair: KeyPair): void {
    this.#pair = pair;
    for (const address of [...this.#links.keys()]) this.#drop(address);
  }

  /** Throws this connection away, unless that happened already. */
  discard(link: Link): void {
    for (const [address, entry] of this.#links) if (entry.link === link) this.#drop(address);
  }

  close(): void {
    for (const address of [...this.#links.keys()]) this.#drop(address);
  }

  #link(address: string): Link {
    const known = this.#links.get(address);
    if (known) return known.link;
    const { certificatePem, keyPem } = this.#pair;
    const channel = createGrpcChannel(address, { caPem: this.#caPem, peerUri: CONTROL_PEERS, certificatePem, keyPem });
    const options = { defaultDeadlineMs: DEADLINE_MS };
    const link: Link = {
      cluster: grpcClient(ClusterServiceDefinition, channel, options),
      enrollment: grpcClient(EnrollmentServiceDefinition, channel, options),
      inventory: grpcClient(InventoryServiceDefinition, channel, options),
    };
    this.#links.set(address, { link, channel });
    return link;
  }

  #drop(address: string): void {
    this.#links.get(address)?.channel.close();
    this.#links.delete(address);
  }
}
