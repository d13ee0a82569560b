import { flag, flags, hyper, int, list, opaque, optionalString, string, uhyper, uint } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, long, low, streaming } from "../procedure.ts";
import { domain, domainInterface, fileSystem } from "../structures.ts";
import { typedParameters } from "../typed-parameters.ts";

const dom = domain;
const parameters = typedParameters(LIMITS.tuningParameters);

/** What a domain has: processors, memory, devices, disks, addresses, consoles, its guest agent. */
export const DOMAIN_DEVICE_PROCEDURES = {
  domainSetVcpusFlags: low(199, { dom, nvcpus: uint, flags }),
  domainGetVcpusFlags: low(200, { dom, flags }, { num: int }),
  /** One bit for each of the host's processors, the lowest bit of the first byte first. */
  domainPinVcpuFlags: low(225, { dom, vcpu: uint, cpumap: opaque(LIMITS.cpuMapBytes), flags }),
  /** In KiB. */
  domainSetMemoryFlags: low(204, { dom, memory: uhyper, flags }),
  /** In seconds; 0 turns the collection off. */
  domainSetMemoryStatsPeriod: low(308, { dom, period: int, flags }),
  domainSetSchedulerParametersFlags: low(219, { dom, params: parameters, flags }),
  domainSetBlkioParameters: low(205, { dom, params: parameters, flags }),
  domainSetMemoryParameters: low(197, { dom, params: parameters, flags }),
  domainSetBlockIoTune: low(252, { dom, disk: string, params: typedParameters(LIMITS.blockTuningParameters), flags }),
  domainSetInterfaceParameters: low(256, { dom, device: string, params: parameters, flags }),

  domainAttachDeviceFlags: low(160, { dom, xml: string, flags }),
  domainDetachDeviceFlags: low(161, { dom, xml: string, flags }),
  domainUpdateDeviceFlags: low(174, { dom, xml: string, flags }),
  /** Asks the guest of a running domain to let go of the device, and waits some seconds for it. */
  domainDetachDeviceAlias: long(392, { dom, alias: string, flags }),

  /** In KiB, or in bytes with BLOCK_RESIZE.BYTES. */
  domainBlockResize: low(251, { dom, disk: string, size: uhyper, flags }),
  domainGetBlockInfo: low(194, { dom, path: string, flags }, { allocation: uhyper, capacity: uhyper, physical: uhyper }),
  domainBlockPull: low(240, { dom, path: string, bandwidth: uhyper, flags }),
  domainBlockCommit: low(290, { dom, disk: string, base: optionalString, top: optionalString, bandwidth: uhyper, flags }),
  domainBlockJobAbort: low(237, { dom, path: string, flags }),
  domainGetBlockJobInfo: low(238, { dom, path: string, flags }, { found: flag, type: int, bandwidth: uhyper, cur: uhyper, end: uhyper }),

  domainInterfaceStats: high(
    65,
    { dom, device: string },
    { rxBytes: hyper, rxPackets: hyper, rxErrs: hyper, rxDrop: hyper, txBytes: hyper, txPackets: hyper, txErrs: hyper, txDrop: hyper },
  ),
  /** `source`: 0 DHCP leases, 1 the guest agent, 2 the host's neighbour table. */
  domainInterfaceAddresses: low(353, { dom, source: uint, flags }, { ifaces: list(domainInterface, LIMITS.interfaces) }),

  /** How long the daemon waits for the guest's agent from then on, in seconds; −2 without an end (its default), −1 for 5 s. */
  domainAgentSetResponseTimeout: low(420, { dom, timeout: int, flags }, { result: int }),
  domainGetHostname: long(277, { dom, flags }, { hostname: string }),
  domainGetTime: long(337, { dom, flags }, { seconds: hyper, nseconds: uint }),
  domainGetGuestInfo: long(418, { dom, types: uint, flags }, { params: typedParameters(LIMITS.guestParameters) }),
  domainGetFsinfo: long(349, { dom, flags }, { info: list(fileSystem, LIMITS.fileSystems), ret: uint }),
  /** No mount points means all. */
  domainFsfreeze: long(335, { dom, mountpoints: list(string, LIMITS.fileSystems), flags }, { filesystems: int }),
  domainFsthaw: long(336, { dom, mountpoints: list(string, LIMITS.fileSystems), flags }, { filesystems: int }),
  domainFstrim: long(294, { dom, mountPoint: optionalString, minimum: uhyper, flags }),

  domainSendKey: low(226, { dom, codeset: uint, holdtime: uint, keycodes: list(uint, LIMITS.keycodes), flags }),
  /** Both ways. Without a name, the first console. */
  domainOpenConsole: streaming(201, "end", { dom, devName: optionalString, flags }),
  domainOpenChannel: streaming(296, "end", { dom, name: optionalString, flags }),
  domainScreenshot: streaming(211, "pause", { dom, screen: uint, flags }, { mime: optionalString }),
};
