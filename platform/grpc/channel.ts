import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext, type PeerCertificate, type SecureContext } from "node:tls";
import { type Channel, ChannelCredentials, type ChannelOptions, createChannel } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import { formatHostPort, isLoopback, parseHostPort } from "./listen-address.ts";

export interface ChannelTls {
  /** The only CA that is trusted. Null: the system's, for servers of others. */
  caPem: string | null;
  /**
   * Who the peer must be by the URI SAN of its certificate (`fleetgraph://agent/<id>`), instead of by its host name. With `*` as the name it
   * may be any of its kind: agents obey every part of the control plane (`fleetgraph://control/*`).
   */
  peerUri?: string;
  /** Own certificate and key, for mTLS. */
  certificatePem?: string;
  keyPem?: string;
}

export interface ChannelSettings {
  /** The longest answer; 16 MiB by default. */
  maxResponseBytes?: number;
  /** Between pings while calls are open; 20 s by default. */
  keepaliveMs?: number;
  /** How long one attempt to connect may take, handshake included; 10 s by default. */
  connectMs?: number;
  /** The first and the longest pause between attempts to connect; 1 s and 20 s by default, varied by a fifth. */
  reconnectMs?: { first: number; longest: number };
}

/** Sent as SNI instead. */
const SERVER_NAME = "fleetgraph.internal";
const KEEPALIVE_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

/**
 * A connection to `host:port` that opens with its first call and again after a loss; `close()` ends it. Without `tls` it is plaintext, which
 * throws FAILED_PRECONDITION for any host but this one: a token would be readable on the way.
 */
export function createGrpcChannel(address: string, tls: ChannelTls | null = null, settings: ChannelSettings = {}): Channel {
  const target = parseHostPort(address);
  if (tls === null && !isLoopback(target.host)) {
    throw new FleetError("FAILED_PRECONDITION", `Plaintext gRPC is for this machine only: ${target.host} needs TLS.`, {
      reason: "PlaintextRefused",
    });
  }
  const credentials = tls === null ? ChannelCredentials.createInsecure() : tlsCredentials(tls, target.host);
  // Where the name in the address is not what is checked, it is not sent as SNI either, which may not be an IP address.
  const namesHost = tls?.peerUri === undefined && isIP(target.host) === 0;
  return createChannel(formatHostPort(target), credentials, {
    ...channelOptions(settings),
    ...(!namesHost && { "grpc.ssl_target_name_override": SERVER_NAME }),
  });
}

function channelOptions(settings: ChannelSettings): ChannelOptions {
  return {
    "grpc.max_receive_message_length": settings.maxResponseBytes ?? MAX_RESPONSE_BYTES,
    "grpc.keepalive_time_ms": settings.keepaliveMs ?? 20_000,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.initial_reconnect_backoff_ms": settings.reconnectMs?.first ?? 1000,
    "grpc.max_reconnect_backoff_ms": settings.reconnectMs?.longest ?? 20_000,
    // In spite of its name this is how long one attempt to connect may take.
    "grpc.min_reconnect_backoff_ms": settings.connectMs ?? CONNECT_TIMEOUT_MS,
    // Channels do not share connections, so that closing one closes its own.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    // A repeated call is the caller's decision.
    "grpc.enable_retries": 0,
  };
}

function tlsCredentials({ peerUri, ...tls }: ChannelTls, host: string): ChannelCredentials {
  return ChannelCredentials.createFromSecureContext(secureContext(tls), {
    checkServerIdentity: (_serverName, certificate) =>
      peerUri === undefined ? checkServerIdentity(host, certificate) : checkPeerUri(certificate, peerUri),
  });
}

function secureContext({ caPem, certificatePem, keyPem }: Omit<ChannelTls, "peerUri">): SecureContext {
  try {
    return createSecureContext({
      ca: caPem ?? undefined,
      cert: certificatePem,
      key: keyPem,
      minVersion: caPem === null ? "TLSv1.2" : "TLSv1.3",
    });
  } catch (cause) {
    throw new FleetError("FAILED_PRECONDITION", "The certificate, its key or the CA cannot be used.", { cause });
  }
}

/** An error unless the certificate (whose signature TLS has checked) has this URI among its names. */
export function checkPeerUri(certificate: Pick<PeerCertificate, "subjectaltname">, peerUri: string): Error | undefined {
  const names = (certificate.subjectaltname ?? "").split(", ");
  const wanted = `URI:${peerUri}`;
  const matches = names.some((name) => (wanted.endsWith("/*") ? name.startsWith(wanted.slice(0, -1)) : name === wanted));
  return matches ? undefined : new Error(`The peer is not ${peerUri} but ${names.join(", ") || "nameless"}.`);
}
