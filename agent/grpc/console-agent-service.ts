import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { ConsoleAgentServiceDefinition, ConsoleKind } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { NodeConsoles } from "../terminal/node-consoles.ts";
import { ofOwnNode } from "./callers.ts";
import { checkFollow, checkOpen, checkResize, checkSubject, checkWrite } from "./console-requests.ts";

/** The consoles of a node by its id; null for a node that is not this agent's. */
export type FindConsoles = (nodeId: string) => NodeConsoles | null;

/** What the control plane asks of an agent about consoles. Every call names its node. */
export function consoleAgentService(findConsoles: FindConsoles): GrpcService {
  return grpcService(ConsoleAgentServiceDefinition, {
    async openConsole(request, { fleet }) {
      const consoles = ofOwnNode(fleet, request.nodeId, findConsoles);
      const { nodeId, instanceId, kind, subject, writerKey, takeOver } = request;
      const wanted = { nodeId, subject, writerKey, takeOver, ...checkOpen(request) };
      return kind === ConsoleKind.SHELL ? await consoles.openShell(wanted) : await consoles.openInstance(instanceId, wanted);
    },
    async listConsoles({ nodeId, instanceId }, { fleet }) {
      return { sessions: ofOwnNode(fleet, nodeId, findConsoles).list(instanceId) };
    },
    async *followConsole(request, { fleet }) {
      const consoles = ofOwnNode(fleet, request.nodeId, findConsoles);
      checkFollow(request);
      yield* consoles.follow(request.sessionId, request.offset, fleet.signal);
    },
    async writeConsole(request, { fleet }) {
      const consoles = ofOwnNode(fleet, request.nodeId, findConsoles);
      checkWrite(request);
      return await consoles.type(request.sessionId, request, fleet.signal);
    },
    async resizeConsole(request, { fleet }) {
      const consoles = ofOwnNode(fleet, request.nodeId, findConsoles);
      return await consoles.resize(request.sessionId, request.writerKey, checkResize(request));
    },
    async closeConsole({ nodeId, sessionId, subject }, { fleet }) {
      const consoles = ofOwnNode(fleet, nodeId, findConsoles);
      checkSubject(subject);
      return await consoles.closeSession(sessionId, subject);
    },
  });
}
