import type { DefaultContext } from "./setting.ts";

interface Ports {
  /** GraphQL, for the gateway. */
  subgraph: number;
  /** gRPC for users. */
  grpc: number;
  /** gRPC for agents and for other parts of the control plane. */
  control: number;
}

/** The ports that each subgraph opens by itself, apart from each other, so that all of them fit on one machine. */
const PORTS: Record<string, Ports> = {
  clusters: { subgraph: 4001, grpc: 50_051, control: 50_053 },
  nodes: { subgraph: 4002, grpc: 50_051, control: 50_054 },
  compute: { subgraph: 4003, grpc: 50_056, control: 50_055 },
};

/** A port's default: that of the subgraph, and without one (`up`) that of clusters. */
export function defaultPort(which: keyof Ports): (context: DefaultContext) => number {
  return ({ subgraph }) => (PORTS[subgraph ?? "clusters"] ?? (PORTS.clusters as Ports))[which];
}
