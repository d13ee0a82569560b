import { Writable } from "node:stream";
import type { Channel } from "nice-grpc";
import { type ChannelTls, createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, type GrpcClientOptions, grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer, type GrpcServer, type GrpcServerOptions } from "../../platform/grpc/server.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { ClusterServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { type ClusterMethods, clusterMethods } from "./cluster-service.ts";

export interface GrpcPair extends AsyncDisposable {
  server: GrpcServer;
  port: number;
  address: string;
  metrics: Metrics;
  /** What the server has logged. */
  lines: Array<Record<string, unknown>>;
  /** A client on a channel of its own, which closes with the pair. */
  connect(tls?: ChannelTls | null, options?: GrpcClientOptions): GrpcClient<typeof ClusterServiceDefinition>;
}

/** A server with some of ClusterService's methods on a free port of 127.0.0.1. */
export async function grpcPair(methods: Partial<ClusterMethods>, options: Partial<GrpcServerOptions> = {}): Promise<GrpcPair> {
  const lines: GrpcPair["lines"] = [];
  const destination = new Writable({
    write(line, _encoding, done) {
      lines.push(JSON.parse(String(line)));
      done();
    },
  });
  const metrics = new Metrics();
  const log = createLogger({ name: "test", level: "debug", destination });
  const server = createGrpcServer({ log, metrics, authenticate: () => null, credentials: null, ...options });
  server.add(ClusterServiceDefinition, clusterMethods(methods));
  const port = await server.listen("127.0.0.1:0");
  const address = `127.0.0.1:${port}`;
  const channels: Channel[] = [];
  return {
    server,
    port,
    address,
    metrics,
    lines,
    connect(tls = null, clientOptions = {}) {
      const channel = createGrpcChannel(address, tls);
      channels.push(channel);
      return grpcClient(ClusterServiceDefinition, channel, clientOptions);
    },
    async [Symbol.asyncDispose]() {
      for (const channel of channels) channel.close();
      await server.stop(1000);
    },
  };
}
