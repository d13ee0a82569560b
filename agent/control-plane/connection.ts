import type { Channel } from "nice-grpc";
import type { FleetError } from "../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { EnrollmentServiceDefinition, InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { BridgeServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { ClusterServiceDefinition, type ServiceEndpoint } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { ImageCredentialServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/images.ts";
import { InstanceReportServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { CONTROL_PEERS } from "../identity/enrollment.ts";
import { doubtsConnection } from "./refusals.ts";

/** Half of the shortest sensible heartbeat interval: a call that hangs must not cost the lease. */
const DEADLINE_MS = 5000;
/**
 * A control plane that was restarted has thousands of handshakes to do: who waits for its turn costs it nothing, who gives up and comes
 * again costs it one more.
 */
const CONNECT_MS = 20_000;
/** Calls without an answer after which a connection is given up. Pings find one that is dead in 30 s anyway. */
const MAX_SILENCES = 3;

/** One connection, and the clients on it. */
export interface Link {
  readonly cluster: GrpcClient<typeof ClusterServiceDefinition>;
  readonly enrollment: GrpcClient<typeof EnrollmentServiceDefinition>;
  readonly inventory: GrpcClient<typeof InventoryServiceDefinition>;
  readonly instances: GrpcClient<typeof InstanceReportServiceDefinition>;
  readonly bridge: GrpcClient<typeof BridgeServiceDefinition>;
  readonly imageCredentials: GrpcClient<typeof ImageCredentialServiceDefinition>;
}

/**
 * The agent's connections to the control plane, mTLS with the agent's own certificate: one to each address in use. A connection that
 * failed is thrown away (one that is only slow is kept), so that the next attempt opens a new one at the time that the caller's back-off chose, with the newest certificate.
 */
export class ControlPlaneConnection {
  readonly #address: string;
  readonly #caPem: string;
  readonly #links = new Map<string, { link: Link; channel: Channel; silences: number }>();
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

  /** A call on this connection failed. Throws the connection away where a new one may do better, unless that happened already. */
  failed(link: Link, error: FleetError): void {
    for (const [address, entry] of this.#links) {
      if (entry.link !== link) continue;
      if (error.code === "DEADLINE_EXCEEDED") entry.silences += 1;
      if (doubtsConnection(error) || entry.silences >= MAX_SILENCES) this.#drop(address);
    }
  }

  close(): void {
    for (const address of [...this.#links.keys()]) this.#drop(address);
  }

  #link(address: string): Link {
    const known = this.#links.get(address);
    if (known) return known.link;
    const { certificatePem, keyPem } = this.#pair;
    const channel = createGrpcChannel(
      address,
      { caPem: this.#caPem, peerUri: CONTROL_PEERS, certificatePem, keyPem },
      { connectMs: CONNECT_MS },
    );
    const options = { defaultDeadlineMs: DEADLINE_MS };
    const link: Link = {
      cluster: grpcClient(ClusterServiceDefinition, channel, options),
      enrollment: grpcClient(EnrollmentServiceDefinition, channel, options),
      inventory: grpcClient(InventoryServiceDefinition, channel, options),
      instances: grpcClient(InstanceReportServiceDefinition, channel, options),
      bridge: grpcClient(BridgeServiceDefinition, channel, options),
      imageCredentials: grpcClient(ImageCredentialServiceDefinition, channel, options),
    };
    this.#links.set(address, { link, channel, silences: 0 });
    return link;
  }

  #drop(address: string): void {
    this.#links.get(address)?.channel.close();
    this.#links.delete(address);
  }
}
