import type { Channel } from "nice-grpc";
import type { InstanceDriver } from "../../agent/drivers/instance-driver.ts";
import { consoleAgentService } from "../../agent/grpc/console-agent-service.ts";
import { CONSOLE_LIMITS, type ConsoleLimits } from "../../agent/terminal/limits.ts";
import { NodeConsoles, type OpenShell } from "../../agent/terminal/node-consoles.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer, type GrpcServer } from "../../platform/grpc/server.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import {
  ConsoleAgentServiceDefinition,
  type ConsoleSession,
  type OpenConsoleRequest,
} from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { FrameViewer } from "./frame-viewer.ts";

export type ConsoleClient = GrpcClient<typeof ConsoleAgentServiceDefinition>;

const NODE = "node-1";
const ASKED: OpenConsoleRequest = {
  nodeId: NODE,
  instanceId: "",
  kind: "CONSOLE_KIND_UNSPECIFIED" as OpenConsoleRequest["kind"],
  size: { width: 80, height: 24 },
  subject: "ann",
  writerKey: "ann-key",
  takeOver: false,
};

/** The consoles of the instances of a driver, behind a real gRPC server, as an agent serves them. */
export class ServedConsoles implements AsyncDisposable {
  readonly consoles: NodeConsoles;
  readonly client: ConsoleClient;
  readonly #server: GrpcServer;
  readonly #channel: Channel;

  private constructor(consoles: NodeConsoles, server: GrpcServer, channel: Channel) {
    this.consoles = consoles;
    this.#server = server;
    this.#channel = channel;
    this.client = grpcClient(ConsoleAgentServiceDefinition, channel);
  }

  static async start(
    drivers: () => readonly InstanceDriver[],
    { openShell = null, limits = {} }: { openShell?: OpenShell | null; limits?: Partial<ConsoleLimits> } = {},
  ): Promise<ServedConsoles> {
    const log = createLogger({ name: "consoles", level: process.env.TEST_LOG ? "debug" : "silent" });
    const findInstance = async (_nodeId: string, instanceId: string, signal: AbortSignal) => {
      for (const driver of drivers()) {
        const native = await driver.find({ instanceId }, signal);
        if (native !== null) return { driver, native };
      }
      throw new FleetError("FAILED_PRECONDITION", "There is none.", { reason: "InstanceMissing" });
    };
    const consoles = new NodeConsoles({ findInstance, openShell, limits: { ...CONSOLE_LIMITS, ...limits }, log });
    const authenticate = () => ({ kind: "control", name: "test" }) as const;
    const server = createGrpcServer({ log, metrics: new Metrics(), authenticate, credentials: null });
    server.addAll([consoleAgentService((nodeId) => (nodeId === NODE ? consoles : null))]);
    const port = await server.listen("127.0.0.1:0");
    return new ServedConsoles(consoles, server, createGrpcChannel(`127.0.0.1:${port}`, null));
  }

  async open(asked: Partial<OpenConsoleRequest>): Promise<ConsoleSession> {
    return await this.client.openConsole({ ...ASKED, ...asked });
  }

  watch({ id: sessionId }: Pick<ConsoleSession, "id">, offset = -1, signal?: AbortSignal): FrameViewer {
    return new FrameViewer(this.client.followConsole({ nodeId: NODE, sessionId, offset, subject: "ann" }, { signal }));
  }

  async type({ id: sessionId }: Pick<ConsoleSession, "id">, text: string, more: { sequence?: number; writerKey?: string } = {}) {
    const asked = { nodeId: NODE, sessionId, writerKey: "ann-key", subject: "ann", sequence: 0, data: Buffer.from(text), takeOver: false };
    return await this.client.writeConsole({ ...asked, ...more });
  }

  async resize({ id: sessionId }: Pick<ConsoleSession, "id">, width: number, height: number): Promise<ConsoleSession> {
    return await this.client.resizeConsole({ nodeId: NODE, sessionId, writerKey: "ann-key", size: { width, height } });
  }

  async close({ id: sessionId }: Pick<ConsoleSession, "id">): Promise<ConsoleSession> {
    return await this.client.closeConsole({ nodeId: NODE, sessionId, subject: "ann" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#server.stop(1000);
    await this.consoles.stop();
  }
}
