import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { BridgedHost } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { NodeKind } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { AgentNode, type AgentNodeOptions } from "../agent-node.ts";
import { BridgedNode } from "./bridged-node.ts";
import { DISK_PATH, type ReachedHost } from "./reached-host.ts";

/** The way to a host without an agent. `directory`: for what is kept of it on this machine, removed with the host. */
export type ReachHost = (host: BridgedHost, directory: string) => ReachedHost;

/** What all nodes of an agent share. */
export type SharedNodeOptions = Omit<
  AgentNodeOptions,
  "key" | "hostname" | "host" | "diskPath" | "instances" | "openShell" | "uri" | "bridged" | "region" | "zone"
>;

const KINDS = [NodeKind.UNSPECIFIED, NodeKind.COMPUTE, NodeKind.STORAGE, NodeKind.HYBRID];

/** A node of this agent for a host that it stands for. */
export function openBridgedNode(host: BridgedHost, shared: SharedNodeOptions, reachHost: ReachHost): BridgedNode {
  const { connection, state, stateDir, log } = shared;
  const { nodeId, hostname } = host;
  const key = `bridged-${nodeId}`;
  const directory = join(stateDir, "bridged", nodeId);
  return new BridgedNode({
    ...{ host, connection, log },
    reach: () => reachHost(host, directory),
    makeNode: (reached, instances, bridged) =>
      new AgentNode({
        ...shared,
        ...{ key, hostname, instances },
        host: reached.channel,
        diskPath: DISK_PATH,
        openShell: null,
        uri: host.access?.uri ?? "",
        bridged: { nodeId, kind: KINDS[host.kind] ?? NodeKind.COMPUTE, ...bridged },
      }),
    forget: async () => {
      await state.forgetNode(key);
      await Promise.all([directory, join(stateDir, "instances", key)].map((path) => rm(path, { recursive: true, force: true })));
    },
  });
}
