import * as kind from "../kinds.ts";
import { defaultPort } from "./ports.ts";
import { CLUSTERS, optional, withDefault } from "./setting.ts";

/** Where users are served: GraphQL and gRPC. */
export const SERVING_SETTINGS = {
  "gateway.host": withDefault({
    kind: kind.host,
    flag: "--host",
    default: "127.0.0.1",
    commands: ["up", "gateway"],
    description: "The address on which the gateway serves GraphQL.",
  }),
  "gateway.port": withDefault({
    kind: kind.port,
    flag: "--port",
    default: 4000,
    commands: ["up", "gateway"],
    description: "The port of GraphQL over HTTP and WebSocket, and of GraphiQL.",
  }),
  "gateway.publicUrl": optional({
    kind: kind.httpUrl,
    flag: "--public-url",
    commands: ["up", "gateway"],
    description: "The gateway's address as browsers see it, behind a proxy; its origin may open WebSockets.",
  }),
  "gateway.origins": withDefault({
    kind: kind.listOf(kind.httpUrl),
    flag: "--origins",
    default: [],
    commands: ["up", "gateway"],
    description: "More origins whose pages may call the gateway.",
  }),
  "gateway.subgraphs": withDefault({
    kind: kind.mapOf(kind.httpUrl),
    flag: "--subgraphs",
    default: {
      clusters: "http://127.0.0.1:4001/graphql",
      nodes: "http://127.0.0.1:4002/graphql",
      compute: "http://127.0.0.1:4003/graphql",
    },
    commands: ["gateway"],
    description: "The GraphQL address of each subgraph.",
  }),
  "gateway.supergraph": optional({
    kind: kind.path,
    flag: "--supergraph",
    commands: ["gateway"],
    description: "A file with the composed supergraph; without it, the one that comes with this release.",
  }),
  "subgraph.host": withDefault({
    kind: kind.host,
    flag: "--host",
    default: "127.0.0.1",
    commands: ["subgraph"],
    description: "The address on which the subgraph serves GraphQL to the gateway.",
  }),
  "subgraph.port": withDefault({
    kind: kind.port,
    flag: "--port",
    default: defaultPort("subgraph"),
    defaultText: "4001 (clusters), 4002 (nodes), 4003 (compute)",
    commands: ["subgraph"],
    description: "The port on which the subgraph serves GraphQL to the gateway.",
  }),
  "grpc.host": withDefault({
    kind: kind.host,
    flag: "--grpc-host",
    default: "127.0.0.1",
    commands: CLUSTERS,
    description: "The address of the users' gRPC. Beyond this machine it needs grpc.tlsCert and grpc.tlsKey.",
  }),
  "grpc.port": withDefault({
    kind: kind.port,
    flag: "--grpc-port",
    default: defaultPort("grpc"),
    defaultText: "50051; 50056 for `subgraph compute`",
    commands: CLUSTERS,
    description: "The port of the users' gRPC.",
  }),
  "grpc.tlsCert": optional({
    kind: kind.path,
    flag: "--grpc-tls-cert",
    commands: CLUSTERS,
    description: "PEM file with the certificate chain of the users' gRPC.",
  }),
  "grpc.tlsKey": optional({ kind: kind.path, flag: "--grpc-tls-key", commands: CLUSTERS, description: "PEM file with its private key." }),
};
