import { join } from "node:path";
import * as kind from "../kinds.ts";
import { AGENTS, optional, withDefault } from "./setting.ts";

/** The agent on a host. */
export const AGENT_SETTINGS = {
  "agent.local": withDefault({
    kind: kind.boolean,
    flag: "--local-agent",
    default: true,
    commands: ["up"],
    description: "Run an agent for this machine in the same process.",
  }),
  "agent.host": withDefault({
    kind: kind.host,
    flag: "--agent-host",
    default: "127.0.0.1",
    commands: AGENTS,
    description: "The address on which the agent takes the control plane's calls (mutual TLS).",
  }),
  "agent.port": withDefault({
    kind: kind.port,
    flag: "--agent-port",
    default: 50_052,
    commands: AGENTS,
    description: "The port on which the agent takes the control plane's calls (mutual TLS).",
  }),
  "agent.address": optional({
    kind: kind.host,
    flag: "--agent-address",
    commands: AGENTS,
    description:
      "The address by which the control plane reaches the agent; without it, agent.host, or the one from which the agent connects.",
  }),
  "agent.hostname": optional({
    kind: kind.text("name"),
    flag: "--hostname",
    commands: AGENTS,
    description: "The node's unique name; without it, this machine's host name.",
  }),
  "agent.stateDir": withDefault({
    kind: kind.path,
    flag: "--state",
    default: ({ dataDir }) => join(dataDir, "agent"),
    defaultText: "DATA/agent",
    commands: [...AGENTS, "backup", "restore"],
    description: "Where the agent keeps its key, certificate and node id.",
  }),
  "agent.controlPlane": optional({
    kind: kind.hostPort,
    flag: "--control-plane",
    commands: ["agent", "simulate"],
    description: "The control plane's address for agents; without it, the one in the join token or the one used before.",
  }),
  "agent.joinToken": optional({
    kind: kind.text("token"),
    flag: "--join",
    secret: true,
    commands: ["agent", "simulate"],
    description: "A join token from `fleetgraph token --join`; needed once, for the first start.",
  }),
};
