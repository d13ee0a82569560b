import { flag, flags, int, list, optional, optionalString, string, uhyper, uint } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, low } from "../procedure.ts";
import { domain, domainStats, network, nodeDevice, storagePool } from "../structures.ts";

/** The connection itself, what the hypervisor can do, statistics of all domains at once, and the registration of events. */
export const CONNECTION_PROCEDURES = {
  authList: high(66, {}, { types: list(int, LIMITS.authTypes) }),
  authPolkit: high(70, {}, { complete: flag }),
  connectOpen: high(1, { name: optionalString, flags }),
  connectClose: high(2, {}),
  connectSupportsFeature: high(60, { feature: int }, { supported: flag }),
  connectGetType: high(3, {}, { type: string }),
  /** Of the hypervisor: major · 1,000,000 + minor · 1,000 + release. */
  connectGetVersion: high(4, {}, { hvVer: uhyper }),
  /** Of the daemon, in the same form. */
  connectGetLibVersion: high(157, {}, { libVer: uhyper }),
  connectGetHostname: high(59, {}, { hostname: string }),
  connectGetUri: high(110, {}, { uri: string }),
  connectGetCapabilities: low(7, {}, { capabilities: string }),
  connectGetDomainCapabilities: low(
    342,
    { emulatorbin: optionalString, arch: optionalString, machine: optionalString, virttype: optionalString, flags },
    { capabilities: string },
  ),
  /** A guest with this <cpu> on this host: 0 cannot run, 1 has exactly what the host gives, 2 has less than that. */
  connectCompareHypervisorCpu: low(
    393,
    { emulator: optionalString, arch: optionalString, machine: optionalString, virttype: optionalString, xmlCpu: string, flags },
    { result: int },
  ),
  /** `stats`: bits of DOMAIN_STATS, 0 for all that the daemon knows. No `doms` means every domain. */
  connectGetAllDomainStats: low(344, { doms: list(domain), stats: uint, flags }, { retStats: list(domainStats) }),

  connectDomainEventCallbackRegisterAny: high(316, { eventId: int, dom: optional(domain) }, { callbackId: int }),
  connectDomainEventCallbackDeregisterAny: high(317, { callbackId: int }),
  connectNetworkEventRegisterAny: high(313, { eventId: int, net: optional(network) }, { callbackId: int }),
  connectNetworkEventDeregisterAny: high(314, { callbackId: int }),
  connectStoragePoolEventRegisterAny: high(368, { eventId: int, pool: optional(storagePool) }, { callbackId: int }),
  connectStoragePoolEventDeregisterAny: high(369, { callbackId: int }),
  connectNodeDeviceEventRegisterAny: high(374, { eventId: int, dev: optional(nodeDevice) }, { callbackId: int }),
  connectNodeDeviceEventDeregisterAny: high(375, { callbackId: int }),
};
