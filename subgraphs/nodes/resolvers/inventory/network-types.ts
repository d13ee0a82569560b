import "reflect-metadata";
import { Field, Int, ObjectType } from "type-graphql";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import type { InterfaceKindName } from "../../services/inventory/views/enum-names.ts";
import { InterfaceCountersObject } from "./counters-type.ts";
import { DeviceUserObject, SriovObject } from "./device-types.ts";
import { NodeInterfaceKindEnum } from "./enums.ts";
import { UnavailableValueObject } from "./unavailable-type.ts";

@ObjectType("InterfaceAddress", { description: "An address of a network interface.", simpleResolvers: true })
class InterfaceAddressObject {
  @Field(() => String)
  address!: string;

  @Field(() => Int, { description: "Bits of the network's part." })
  prefixLength!: number;

  @Field(() => String, { description: '"IPv4" or "IPv6".' })
  family!: string;

  @Field(() => String, { description: '"global", "link" or "host".' })
  scope!: string;
}

@ObjectType("BridgeMember", { description: "An interface that is part of a bridge.", simpleResolvers: true })
class BridgeMemberObject {
  @Field(() => String)
  name!: string;

  @Field(() => DeviceUserObject, { nullable: true, description: "The guest that it belongs to; null for one of the host." })
  user!: DeviceUserObject | null;
}

@ObjectType("NodeBridge", { description: "What makes an interface a bridge.", simpleResolvers: true })
class NodeBridgeObject {
  @Field(() => [BridgeMemberObject])
  members!: BridgeMemberObject[];

  @Field(() => Boolean, { nullable: true, description: "Whether the spanning tree protocol is on." })
  stp?: boolean | null;

  @Field(() => Boolean, { nullable: true })
  vlanFiltering?: boolean | null;
}

@ObjectType("NodeBond", { description: "What makes an interface a bond.", simpleResolvers: true })
class NodeBondObject {
  @Field(() => String, { nullable: true, description: '"balance-rr", "active-backup", "802.3ad", …' })
  mode?: string | null;

  @Field(() => [String], { description: "Names of interfaces." })
  members!: string[];

  @Field(() => [String], { description: "Members that carry traffic now." })
  active!: string[];

  @Field(() => String, { nullable: true })
  primary?: string | null;
}

@ObjectType("NodeVlan", { description: "What makes an interface a VLAN.", simpleResolvers: true })
class NodeVlanObject {
  @Field(() => Int, { description: "1–4094." })
  vlanId!: number;

  @Field(() => String, { description: "The interface that carries it." })
  parent!: string;

  @Field(() => String, { description: '"802.1Q" or "802.1ad".' })
  protocol!: string;
}

@ObjectType("NodeNetworkInterface", {
  description: "A network interface of a host, from `ip` and sysfs.",
  simpleResolvers: true,
})
export class NodeInterfaceObject {
  @Field(() => String)
  name!: string;

  @Field(() => Int, { description: "The kernel's number: another one when it was made anew." })
  index!: number;

  @Field(() => NodeInterfaceKindEnum, { nullable: true })
  kind!: InterfaceKindName | null;

  @Field(() => String, { nullable: true, description: 'As `ip` names it: "dummy", "macvlan", "vxlan", …; null for a physical one.' })
  linkType!: string | null;

  @Field(() => String, { nullable: true })
  mac?: string | null;

  @Field(() => String, { nullable: true, description: "The card's own, where the interface has another one now." })
  permanentMac?: string | null;

  @Field(() => String, { description: '"UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN" or "DORMANT".' })
  state!: string;

  @Field(() => Boolean, { description: "Whether it is switched on at all." })
  enabled!: boolean;

  @Field(() => Boolean, { nullable: true, description: "Whether there is a link. Null while it is switched off." })
  carrier?: boolean | null;

  @Field(() => Int, { nullable: true, description: "In Mb/s; null where the driver does not tell, as for most virtual ones." })
  speedMbps?: number | null;

  @Field(() => String, { nullable: true, description: '"full" or "half".' })
  duplex?: string | null;

  @Field(() => Int, { description: "In bytes." })
  mtu!: number;

  @Field(() => String, { nullable: true })
  driver?: string | null;

  @Field(() => String, { nullable: true, description: "By which `pciDevices` has it; null for one that is not on PCI." })
  pciAddress?: string | null;

  @Field(() => [InterfaceAddressObject])
  addresses!: InterfaceAddressObject[];

  @Field(() => String, { nullable: true, description: "The bridge or bond that it is a member of." })
  master?: string | null;

  @Field(() => DeviceUserObject, { nullable: true, description: "Of a guest's tap or veth." })
  user!: DeviceUserObject | null;

  @Field(() => NodeBridgeObject, { nullable: true })
  bridge!: NodeBridgeObject | null;

  @Field(() => NodeBondObject, { nullable: true })
  bond!: NodeBondObject | null;

  @Field(() => NodeVlanObject, { nullable: true })
  vlan?: NodeVlanObject | null;

  @Field(() => SriovObject, { nullable: true, description: "Of a physical function that can have virtual ones." })
  sriov!: SriovObject | null;

  @Field(() => InterfaceCountersObject, {
    nullable: true,
    description:
      "Read from the host for this request. Null in events, and where it could not be read: `unavailable` of the network says why.",
  })
  counters!: InterfaceCountersObject | null;
}

const KNOWN = "By name; null where they could not be read.";

@ObjectType("NodeNetwork", { description: "A host's network interfaces, by kind.", simpleResolvers: true })
export class NodeNetworkObject {
  @Field(() => [NodeInterfaceObject], { nullable: true, description: `Physical ones. ${KNOWN}` })
  nics!: NodeInterfaceObject[] | null;

  @Field(() => [NodeInterfaceObject], { nullable: true, description: KNOWN })
  bridges!: NodeInterfaceObject[] | null;

  @Field(() => [NodeInterfaceObject], { nullable: true, description: KNOWN })
  bonds!: NodeInterfaceObject[] | null;

  @Field(() => [NodeInterfaceObject], { nullable: true, description: KNOWN })
  vlans!: NodeInterfaceObject[] | null;

  @Field(() => [NodeInterfaceObject], {
    nullable: true,
    description: `Of SR-IOV cards, where the host has an interface of them; all of them are in \`sriov\` of their card. ${KNOWN}`,
  })
  virtualFunctions!: NodeInterfaceObject[] | null;

  @Field(() => DateTime, { nullable: true, description: "When it was read on the host; null where nothing was reported yet." })
  observedAt!: Date | null;

  @Field(() => [UnavailableValueObject], {
    description: 'Why values are null: "interfaces[eth0].speedMbps"; and "counters" where this request asked for them in vain.',
  })
  unavailable!: UnavailableValueObject[];
}
