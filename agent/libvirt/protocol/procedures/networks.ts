import { flag, flags, int, list, needResults, optionalString, string, uint, uuid } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, low } from "../procedure.ts";
import { dhcpLease, network, networkFilter } from "../structures.ts";

const net = network;
const nwfilter = networkFilter;

export const NETWORK_PROCEDURES = {
  connectListAllNetworks: high(283, { needResults, flags }, { nets: list(network), ret: uint }),
  networkLookupByName: high(46, { name: string }, { net }),
  networkLookupByUuid: high(47, { uuid }, { net }),
  networkDefineXml: high(41, { xml: string }, { net }),
  networkCreateXml: low(40, { xml: string }, { net }),
  networkCreate: low(39, { net }),
  networkDestroy: high(42, { net }),
  networkUndefine: high(49, { net }),
  networkUpdate: high(291, { net, command: uint, section: uint, parentIndex: int, xml: string, flags }),
  networkGetXmlDesc: high(43, { net, flags }, { xml: string }),
  networkGetBridgeName: high(45, { net }, { name: string }),
  networkIsActive: high(152, { net }, { active: flag }),
  networkIsPersistent: high(153, { net }, { persistent: flag }),
  networkSetAutostart: high(48, { net, autostart: flag }),
  networkGetAutostart: high(44, { net }, { autostart: flag }),
  networkGetDhcpLeases: low(
    341,
    { net, mac: optionalString, needResults, flags },
    { leases: list(dhcpLease, LIMITS.dhcpLeases), ret: uint },
  ),

  connectListAllNwfilters: high(286, { needResults, flags }, { filters: list(networkFilter), ret: uint }),
  nwfilterLookupByName: high(175, { name: string }, { nwfilter }),
  nwfilterLookupByUuid: high(176, { uuid }, { nwfilter }),
  nwfilterDefineXml: high(180, { xml: string }, { nwfilter }),
  nwfilterUndefine: high(181, { nwfilter }),
  nwfilterGetXmlDesc: high(177, { nwfilter, flags }, { xml: string }),
};
