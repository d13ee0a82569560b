import os from "node:os";
import { FleetError } from "../platform/errors/fleet-error.ts";
import { authenticateByCertificate } from "../platform/grpc/authenticate.ts";
import { ChannelPool } from "../platform/grpc/channel-pool.ts";
import { formatHostPort } from "../platform/grpc/listen-address.ts";
import { createGrpcServer, type GrpcServer } from "../platform/grpc/server.ts";
import { ServerTls } from "../platform/grpc/server-tls.ts";
import type { Logger } from "../platform/observability/log.ts";
import { Metrics } from "../platform/observability/metrics.ts";
import { readOnlyCa } from "../platform/tls/certificate-authority.ts";
import { type KeyPair, makePrivateDir } from "../platform/tls/certificate-files.ts";
import { AgentNode } from "./agent-node.ts";
import { BridgedHosts } from "./bridge/bridged-hosts.ts";
import { openBridgedNode, type ReachHost } from "./bridge/open-bridged-node.ts";
import type { CommandHandlers } from "./control-plane/commands.ts";
import { ControlPlaneConnection } from "./control-plane/connection.ts";
import { imageCredentials } from "./control-plane/image-credentials.ts";
import type { FindCredential } from "./drivers/image-driver.ts";
import { agentService } from "./grpc/agent-service.ts";
import { bridgeAgentService } from "./grpc/bridge-agent-service.ts";
import { consoleAgentService } from "./grpc/console-agent-service.ts";
import { deviceAgentService } from "./grpc/device-agent-service.ts";
import { imageAgentService } from "./grpc/image-agent-service.ts";
import { instanceAgentService } from "./grpc/instance-agent-service.ts";
import { logAgentService } from "./grpc/log-agent-service.ts";
import { migrationAgentService } from "./grpc/migration-agent-service.ts";
import { migrationTunnelService } from "./grpc/migration-tunnel-service.ts";
import { powerAgentService } from "./grpc/power-agent-service.ts";
import { snapshotAgentService } from "./grpc/snapshot-agent-service.ts";
import { storageAgentService } from "./grpc/storage-agent-service.ts";
import { telemetryAgentService } from "./grpc/telemetry-agent-service.ts";
import type { HostChannel } from "./host/host-channel.ts";
import { LocalHost } from "./host/local.ts";
import { type AgentCredentials, saveCredentials } from "./identity/credentials.ts";
import { openIdentity } from "./identity/open-identity.ts";
import { CertificateRenewal } from "./identity/renewal.ts";
import { LOCAL_NODE, StateFile } from "./identity/state-file.ts";
import { lockState } from "./identity/state-lock.ts";
import type { InstanceSettings } from "./instances/node-instances.ts";
import { anyMigrations } from "./migration/migration-drivers.ts";
import { openShell } from "./terminal/shell.ts";

export interface AgentOptions {
  /** host:port. Without it: the one in the join token, or the one used before. */
  controlPlane?: string;
  /** Needed for the first start. A function is asked only then. */
  joinToken?: string | (() => Promise<string>);
  /** Holds key, certificate and node id; made with mode 0700. */
  stateDir: string;
  /** Where the control plane's calls are taken; port 0 is any free one. */
  listen: { host: string; port: number };
  /** The node's unique name; by default this machine's. */
  hostname?: string;
  /** Where the control plane reaches the agent, a name or an address; by default as `ownAddress` finds it. */
  address?: string;
  region?: string;
  zone?: string;
  /** The host that the node is; by default this machine. */
  host?: HostChannel;
  /** A directory on the file system that counts as the node's disk; by default the state directory. */
  diskPath?: string;
  /** What runs its instances; without it, nothing does. Called once, when the state directory is the agent's own. */
  openInstances?: (log: Logger, findCredential: FindCredential) => Promise<InstanceSettings>;
  /** Whether admins may open shells on this machine, as the agent's user; false by default. */
  shell?: boolean;
  /** What its own configuration allows beyond that; all by default. */
  allow?: Partial<AgentPermissions>;
  /** The libvirt URI of this machine's VMs, for people; none by default. */
  libvirtUri?: string;
  /** The way to a host without an agent; without it, this agent stands for none. */
  hostReacher?: (findCredential: FindCredential, log: Logger) => ReachHost;
  /** How often the disks' health is read; 5 minutes by default. */
  smartIntervalMs?: number;
  /** A folder of journal files instead of the host's own journal. */
  journalDirectory?: string;
  commands?: CommandHandlers;
  log: Logger;
  metrics?: Metrics;
  /** Ends the wait for a control plane that does not answer. */
  signal?: AbortSignal;
}

/** What a host's owner lets the control plane do. */
export interface AgentPermissions {
  /** Reboot and shut down. */
  power: boolean;
  /** Give devices to instances, make virtual functions. */
  devices: boolean;
  /** Stand for hosts without an agent. */
  bridging: boolean;
}

export interface RunningAgent {
  readonly agentId: string;
  /** Of the nodes that were registered. */
  readonly nodeIds: string[];
  /** Where the control plane's calls are taken. */
  readonly port: number;
  /** Ends all loops and connections. No last word is sent: the node turns UNKNOWN when its lease runs out. */
  stop(): Promise<void>;
}

const STOP_GRACE_MS = 1000;
const RECEIVE_WINDOW_BYTES = 1024 * 1024;

/**
 * Puts this machine into the graph. Resolves when the node has an id: at once after the first time, even while the control plane is away.
 * Waits for a control plane that cannot be reached. Throws INVALID_ARGUMENT or UNAUTHENTICATED for a join token that is not accepted,
 * FAILED_PRECONDITION for a state directory that cannot be used, and what the control plane answers where it refuses the node's first registration.
 */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  await makePrivateDir(options.stateDir);
  const unlock = await lockState(options.stateDir);
  try {
    return await start(options, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function start(options: AgentOptions, unlock: () => Promise<void>): Promise<RunningAgent> {
  const { stateDir, log } = options;
  const state = await StateFile.open(stateDir);
  const { credentials, controlPlane } = await openIdentity(options, state);
  const connection = new ControlPlaneConnection(controlPlane, credentials.caPem, credentials);
  const nodes: AgentNode[] = [];
  const findNode = (nodeId: string) => nodes.find((node) => node.nodeId === nodeId) ?? bridged?.find(nodeId) ?? null;
  const tls = serverTls(credentials);
  const { caPem } = credentials;
  let pair: KeyPair = credentials;
  const peers = new ChannelPool({ credentials: () => ({ ...pair, caPem }) });
  const server = agentServer(options, credentials, tls);
  server.addAll([
    agentService((nodeId) => findNode(nodeId)?.host ?? null),
    telemetryAgentService((nodeId) => findNode(nodeId)?.host ?? null),
    powerAgentService((nodeId) => findNode(nodeId)?.host ?? null, options.allow?.power ?? true, options.log),
    instanceAgentService((nodeId) => findNode(nodeId)?.instances ?? null),
    deviceAgentService((nodeId) => findNode(nodeId)?.instances ?? null, options.allow?.devices ?? true),
    snapshotAgentService((nodeId) => findNode(nodeId)?.instances ?? null),
    migrationAgentService((nodeId) => findNode(nodeId)?.instances ?? null, peers),
    migrationTunnelService(
      (...ticket) => anyMigrations(instances.drivers).accept(...ticket),
      authenticateByCertificate(readOnlyCa(caPem), ["agent"]),
    ),
    storageAgentService((nodeId) => findNode(nodeId)?.instances ?? null),
    imageAgentService((nodeId) => findNode(nodeId)?.instances ?? null),
    bridgeAgentService(options.allow?.bridging !== false),
    logAgentService((nodeId) => findNode(nodeId)?.logs ?? null),
    consoleAgentService((nodeId) => findNode(nodeId)?.consoles ?? null),
  ]);
  const findCredential = imageCredentials(connection, () => nodes[0]?.nodeId ?? null);
  const reachHost = options.allow?.bridging === false ? null : (options.hostReacher?.(findCredential, log) ?? null);
  const instances = (await options.openInstances?.(log, findCredential)) ?? { drivers: [] };
  const port = await server.listen(formatHostPort(options.listen)).catch(async (error: unknown) => {
    await Promise.all(instances.drivers.map((driver) => driver.close()));
    throw error;
  });

  const stopping = new AbortController();
  const renewal = new CertificateRenewal({
    credentials,
    connection,
    save: (renewed) => saveCredentials(stateDir, renewed),
    onRenewed: (renewed) => {
      tls.replace(renewed);
      pair = renewed;
      peers.renew();
      connection.replaceCertificate(renewed);
    },
    log,
  });
  const shared = {
    ...options,
    commands: options.commands ?? new Map(),
    ...{ port, controlPlane, connection, state },
  };
  const local = new AgentNode({
    ...shared,
    key: LOCAL_NODE,
    hostname: (options.hostname ?? os.hostname()).toLowerCase(),
    host: options.host ?? new LocalHost(),
    diskPath: options.diskPath ?? stateDir,
    instances,
    openShell: options.shell === true ? openShell : null,
    uri: options.libvirtUri ?? "",
    bridged: null,
  });
  nodes.push(local);
  const bridged =
    reachHost === null
      ? null
      : new BridgedHosts({
          connection,
          nodeId: () => local.nodeId,
          open: (host) => openBridgedNode(host, shared, reachHost),
          log,
        });
  const work = Promise.all([renewal.run(stopping.signal), local.run(stopping.signal), bridged?.run(stopping.signal)]);

  let stopped: Promise<void> | null = null;
  const stop = () => {
    stopped ??= (async () => {
      stopping.abort(new DOMException("The agent is stopping.", "AbortError"));
      await server.stop(STOP_GRACE_MS);
      await work;
      peers.close();
      connection.close();
      await unlock();
    })();
    return stopped;
  };

  try {
    await firstRegistrations(nodes, options.signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    agentId: credentials.agentId,
    get nodeIds() {
      return nodes.flatMap(({ nodeId }) => nodeId ?? []);
    },
    port,
    stop,
  };
}

/** Of the nodes that never had an id; the others are known already. */
async function firstRegistrations(nodes: AgentNode[], signal: AbortSignal | undefined): Promise<void> {
  const waiting = nodes.filter((node) => node.nodeId === null).map((node) => node.registered);
  if (signal === undefined) {
    await Promise.all(waiting);
    return;
  }
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(new FleetError("CANCELLED", "The agent was stopped before its node was registered."));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([Promise.all(waiting), aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function serverTls(credentials: AgentCredentials): ServerTls {
  return new ServerTls({ ...credentials, clientCertificates: "required" });
}

function agentServer(options: AgentOptions, credentials: AgentCredentials, tls: ServerTls): GrpcServer {
  return createGrpcServer({
    log: options.log,
    metrics: options.metrics ?? new Metrics(),
    authenticate: authenticateByCertificate(readOnlyCa(credentials.caPem), ["control"]),
    credentials: tls,
    // A guest's memory comes through here.
    receiveWindowBytes: RECEIVE_WINDOW_BYTES,
    reflection: false,
  });
}
