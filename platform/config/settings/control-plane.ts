import { join } from "node:path";
import * as kind from "../kinds.ts";
import { defaultPort } from "./ports.ts";
import { CLUSTERS, optional, withDefault } from "./setting.ts";

/** What the subgraphs need: the agents' side, databases, leases, events. */
export const CONTROL_PLANE_SETTINGS = {
  "control.host": withDefault({
    kind: kind.host,
    flag: "--control-host",
    default: "127.0.0.1",
    commands: [...CLUSTERS, "token"],
    description: "The address on which agents reach the control plane (mutual TLS).",
  }),
  "control.port": withDefault({
    kind: kind.port,
    flag: "--control-port",
    default: defaultPort("control"),
    defaultText: "50053; 50054 for `subgraph nodes`, 50055 for `subgraph compute`",
    commands: [...CLUSTERS, "token"],
    description: "The port on which agents reach the control plane (mutual TLS).",
  }),
  "control.advertise": withDefault({
    kind: kind.listOf(kind.hostPort),
    flag: "--control-advertise",
    default: [],
    defaultText: "control.host:control.port",
    commands: [...CLUSTERS, "token"],
    description: "The addresses by which agents on other hosts reach the control plane; the first one goes into join tokens.",
  }),
  "control.peers": withDefault({
    kind: kind.mapOf(kind.hostPort),
    flag: "--control-peers",
    default: {},
    defaultText: "none: every service is at the address that agents call",
    commands: CLUSTERS,
    description:
      "Where agents find services of subgraphs that run as processes of their own: full gRPC service name and address, such as hypervisor.v1.InventoryService=10.0.0.2:50054, and hypervisor.v1.InstanceReportService=10.0.0.3:50055 with hypervisor.v1.ImageCredentialService at the same address.",
  }),
  "tls.caDir": withDefault({
    kind: kind.path,
    flag: "--ca",
    default: ({ dataDir }) => join(dataDir, "ca"),
    defaultText: "DATA/ca",
    commands: [...CLUSTERS, "token", "simulate", "backup", "restore"],
    description: "The certificate authority for agents and for the control plane's parts, made at the first start.",
  }),
  "tls.controlDir": optional({
    kind: kind.path,
    flag: "--control-credentials",
    commands: ["subgraph"],
    description:
      "A folder with control.pem and ca-certificate.pem, for a nodes or compute subgraph that does not share the certificate authority's folder; `fleetgraph token --control NAME` makes it.",
  }),
  "secrets.keyDir": withDefault({
    kind: kind.path,
    flag: "--secrets",
    default: ({ dataDir }) => join(dataDir, "secrets"),
    defaultText: "DATA/secrets",
    commands: [...CLUSTERS, "backup", "restore"],
    description:
      "The keys of secrets in the databases (accounts for registries, say), in the file secret-keys, made at the first start: one key a line, the last one seals, all open. Replicas of a subgraph need the same file.",
  }),
  "database.clusters": withDefault({
    kind: kind.databaseUrl,
    flag: "--clusters-database",
    secret: true,
    default: ({ dataDir }) => `sqlite:${join(dataDir, "clusters.db")}`,
    defaultText: "sqlite:DATA/clusters.db",
    commands: [...CLUSTERS, "token", "backup", "restore"],
    description: "The database of the clusters subgraph.",
  }),
  "database.nodes": withDefault({
    kind: kind.databaseUrl,
    flag: "--nodes-database",
    secret: true,
    default: ({ dataDir }) => `sqlite:${join(dataDir, "nodes.db")}`,
    defaultText: "sqlite:DATA/nodes.db",
    commands: [...CLUSTERS, "backup", "restore"],
    description: "The database of the nodes subgraph.",
  }),
  "database.compute": withDefault({
    kind: kind.databaseUrl,
    flag: "--compute-database",
    secret: true,
    default: ({ dataDir }) => `sqlite:${join(dataDir, "compute.db")}`,
    defaultText: "sqlite:DATA/compute.db",
    commands: [...CLUSTERS, "backup", "restore"],
    description: "The database of the compute subgraph.",
  }),
  "nats.url": optional({
    kind: kind.natsUrl,
    flag: "--nats",
    secret: true,
    commands: ["subgraph", "up"],
    description: "NATS, which wakes the other replicas of a subgraph; needed only where one has several.",
  }),
  "control.clustersAddress": withDefault({
    kind: kind.hostPort,
    flag: "--clusters-address",
    default: "127.0.0.1:50053",
    commands: ["subgraph"],
    description: "Where the other subgraphs find the clusters subgraph's gRPC for the control plane.",
  }),
  "lease.heartbeatInterval": withDefault({
    kind: kind.wholeSeconds(1, 300),
    flag: "--heartbeat-interval",
    default: 10,
    commands: CLUSTERS,
    description: "How often agents report.",
  }),
  "lease.ttl": withDefault({
    kind: kind.wholeSeconds(2, 3600),
    flag: "--lease-ttl",
    default: 30,
    commands: CLUSTERS,
    description: "A node that was not heard of for this long becomes UNKNOWN.",
  }),
  "placement.cpuOvercommit": withDefault({
    kind: kind.decimal(0.1, 100),
    default: 4,
    commands: CLUSTERS,
    description: "Allocatable cores per core of the host.",
  }),
  "placement.memoryOvercommit": withDefault({
    kind: kind.decimal(0.1, 10),
    default: 1,
    commands: CLUSTERS,
    description: "Allocatable memory per memory of the host.",
  }),
  "placement.reserveCpuCores": withDefault({
    kind: kind.integer(0, 1024),
    default: 0,
    commands: CLUSTERS,
    description: "Cores of every host that are kept for the host itself.",
  }),
  "placement.reserveMemory": withDefault({
    kind: kind.bytes,
    default: 2 ** 30,
    defaultText: "1GiB",
    commands: CLUSTERS,
    description: "Memory of every host that is kept for the host itself.",
  }),
  "placement.reserveDisk": withDefault({
    kind: kind.bytes,
    default: 0,
    commands: CLUSTERS,
    description: "Disk space of every host that is kept for the host itself.",
  }),
  "placement.strategy": withDefault({
    kind: kind.oneOf(["spread", "pack"]),
    default: "spread",
    commands: CLUSTERS,
    description: "Where a new instance goes that asks for neither: where most is free, or where least is free and it still fits.",
  }),
  "compute.deletedRetention": withDefault({
    kind: kind.duration(0, 365 * 86_400),
    default: 7 * 86_400,
    commands: CLUSTERS,
    description: "How long a deleted instance can still be read.",
  }),
  "events.retentionAge": withDefault({
    kind: kind.duration(60, 365 * 86_400),
    default: 86_400,
    commands: CLUSTERS,
    description: "Events older than this may be dropped; a watch that resumes further back ends with CURSOR_EXPIRED.",
  }),
  "events.retentionCount": withDefault({
    kind: kind.integer(100, 100_000_000),
    default: 100_000,
    commands: CLUSTERS,
    description: "At most this many events are kept per stream.",
  }),
};
