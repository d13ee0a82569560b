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
  "agent.libvirtUri": withDefault({
    kind: kind.text("uri"),
    flag: "--libvirt",
    default: "qemu:///system",
    commands: AGENTS,
    description:
      "The libvirt that runs VMs and microVMs: qemu:///system, qemu:///session, qemu+unix:///system?socket=PATH; none switches them off.",
  }),
  "agent.containerSocket": optional({
    kind: kind.text("path"),
    flag: "--container-socket",
    commands: AGENTS,
    description:
      "The socket of the container engine (podman's or Docker's API); without it, the first of /run/podman/podman.sock and /run/docker.sock that is there; none switches containers off.",
  }),
  "agent.imageDir": withDefault({
    kind: kind.path,
    default: "/var/lib/fleetgraph/images",
    commands: AGENTS,
    description: "A folder on libvirt's host: images, kernels and initial RAM disks of VMs, by name. Downloaded ones are kept there, too.",
  }),
  "agent.instanceDir": withDefault({
    kind: kind.path,
    default: "/var/lib/fleetgraph/instances",
    commands: AGENTS,
    description: "A folder on libvirt's host, for the disks of VMs that ask for no type.",
  }),
  "agent.ssdDir": optional({
    kind: kind.path,
    commands: AGENTS,
    description: 'A folder on libvirt\'s host, for disks of type "ssd"; without it, agent.instanceDir.',
  }),
  "agent.hddDir": optional({
    kind: kind.path,
    commands: AGENTS,
    description: 'A folder on libvirt\'s host, for disks of type "hdd"; without it, agent.instanceDir.',
  }),
  "agent.imageUrls": withDefault({
    kind: kind.listOf(kind.imageUrl),
    default: [],
    defaultText: "any by http and https, but on loopback, link-local and cloud metadata addresses",
    commands: AGENTS,
    description:
      "Images of VMs are fetched only from URLs that begin with one of these. A folder of this machine (file:///srv/images/) must be named for its files to be taken.",
  }),
  "agent.imageMaxDiskBytes": withDefault({
    kind: kind.bytes,
    default: 2 * 2 ** 40,
    defaultText: "2TiB",
    commands: AGENTS,
    description: "Images of VMs that are larger disks are not fetched.",
  }),
  "agent.imageRetentionDays": withDefault({
    kind: kind.integer(0, 36_500),
    default: 30,
    commands: AGENTS,
    description: "Fetched images of VMs that no instance has needed for so many days are removed; 0: never for that.",
  }),
  "agent.imageMinFreeBytes": withDefault({
    kind: kind.bytes,
    default: 0,
    commands: AGENTS,
    description:
      "As long as less than that is free where images of VMs are, fetched ones that no instance needs are removed, those first that were not used for longest; 0: never for that.",
  }),
  "agent.mountRoots": withDefault({
    kind: kind.listOf(kind.path),
    default: [],
    defaultText: "none: nothing of the host can be mounted",
    commands: AGENTS,
    description: "Folders of this host that containers may mount, with all that is below them.",
  }),
  "agent.poolRoots": withDefault({
    kind: kind.listOf(kind.path),
    default: ["/var/lib/fleetgraph/pools"],
    commands: AGENTS,
    description: "Folders of this host below which storage pools for volumes may be made.",
  }),
  "agent.publicNetwork": optional({
    kind: kind.text("name"),
    commands: AGENTS,
    description: "The libvirt network for instances that ask for a public address; without it, they are refused.",
  }),
  "agent.securityGroupsFile": optional({
    kind: kind.path,
    commands: AGENTS,
    description:
      "A YAML file with security groups by name, each a list of rules { direction: in | out, protocol: tcp | udp | icmp | all, ports, cidr }; without it, only libvirt's own nwfilters can be named.",
  }),
  "agent.shell": withDefault({
    kind: kind.boolean,
    flag: "--shell",
    default: false,
    commands: AGENTS,
    description: "Let admins open login shells on this host, as the agent's user (root, as a rule).",
  }),
  "agent.power": withDefault({
    kind: kind.boolean,
    flag: "--power",
    default: true,
    commands: AGENTS,
    description: "Let admins reboot and shut down this host, and the hosts that this agent stands for.",
  }),
  "agent.devices": withDefault({
    kind: kind.boolean,
    flag: "--devices",
    default: true,
    commands: AGENTS,
    description: "Let operators give devices of this host to instances, and set up its virtual functions.",
  }),
  "agent.bridging": withDefault({
    kind: kind.boolean,
    flag: "--bridging",
    default: true,
    commands: AGENTS,
    description: "Stand for hosts without an agent, which admins add by their libvirt URI (addNode).",
  }),
  "agent.smartInterval": withDefault({
    kind: kind.duration(10, 86_400),
    default: 300,
    commands: AGENTS,
    description: "How often the health of disks is asked for by smartctl.",
  }),
  "agent.journalDir": optional({
    kind: kind.path,
    commands: AGENTS,
    description: "A folder of journal files to read this host's logs from; without it, the host's own journal.",
  }),
  "agent.adoption": withDefault({
    kind: kind.boolean,
    flag: "--adoption",
    default: true,
    commands: AGENTS,
    description: "Take over instances that others made, when an admin asks for it.",
  }),
};
