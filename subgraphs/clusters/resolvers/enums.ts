import { registerEnumType } from "type-graphql";
import { enumOf } from "../../kit/graphql/enum-of.ts";
import { CONNECTION_STATES } from "../services/node-connection.ts";
import { type CommandType, NODE_AVAILABILITIES, NODE_KINDS, NODE_ROLES, NODE_STATUSES } from "../services/node-types.ts";

export const NodeRoleEnum = enumOf(NODE_ROLES);
registerEnumType(NodeRoleEnum, { name: "NodeRole", description: "A node's part in the fleet." });

export const NodeStatusEnum = enumOf(NODE_STATUSES);
registerEnumType(NodeStatusEnum, {
  name: "NodeStatus",
  description: "What is observed of a node. See also Node.maintenance, which is intended.",
  valuesConfig: {
    PENDING: { description: "Registered, and no heartbeat came yet." },
    READY: { description: "Its agent says that it can run instances." },
    NOT_READY: { description: "Its agent says that it cannot; the conditions say why." },
    UNKNOWN: { description: "Nothing was heard of it for the time of its lease (condition Ready = Unknown, reason LeaseExpired)." },
  },
});

export const NodeKindEnum = enumOf(NODE_KINDS);
registerEnumType(NodeKindEnum, {
  name: "NodeKind",
  description: "What a node is for.",
  valuesConfig: {
    COMPUTE: { description: "Runs instances." },
    STORAGE: { description: "Holds volumes." },
    HYBRID: { description: "Both." },
  },
});

export const NodeAvailabilityEnum = enumOf(NODE_AVAILABILITIES);
registerEnumType(NodeAvailabilityEnum, {
  name: "NodeAvailability",
  description: "Derived from status and maintenance.",
  valuesConfig: {
    ONLINE: { description: "READY and not in maintenance." },
    OFFLINE: { description: "Any other status, not in maintenance." },
    MAINTENANCE: { description: "In maintenance, whatever its status." },
  },
});

export const HostConnectionStateEnum = enumOf(CONNECTION_STATES);
registerEnumType(HostConnectionStateEnum, {
  name: "HostConnectionState",
  description: "How the control plane is connected with a host.",
  valuesConfig: {
    CONNECTED: { description: "Its agent reports it, or the agent that stands for it does and reaches it." },
    HOST_UNREACHABLE: { description: "The agent that stands for it reports, and does not reach it." },
    AGENT_LOST: { description: "Its agent, or the one that stands for it, has not been heard of for longer than its lease." },
    NEVER_CONNECTED: { description: "No heartbeat came yet." },
    NO_AGENT: { description: "It was registered by hand, and no agent reports it." },
  },
});

/** The seed's lower-case words, which gRPC and the agents use, under names as GraphQL's enums have them. */
export const NodeCommandTypeEnum = Object.freeze({ DRAIN: "drain", MAINTENANCE: "maintenance", UPGRADE: "upgrade" }) satisfies Record<
  string,
  CommandType
>;
registerEnumType(NodeCommandTypeEnum, {
  name: "NodeCommandType",
  description: "What an agent can be told to do.",
  valuesConfig: {
    DRAIN: { description: "Move or stop what runs here." },
    MAINTENANCE: { description: "Begin or end maintenance." },
    UPGRADE: { description: "Bring the agent up to date." },
  },
});
