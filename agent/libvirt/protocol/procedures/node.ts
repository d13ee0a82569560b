import { charArray, flags, int, list, needResults, opaque, optionalString, string, uhyper, uint } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, low } from "../procedure.ts";
import { nodeDevice, nodeStat } from "../structures.ts";

const stats = list(nodeStat, LIMITS.nodeStats);

/** The host and its devices. */
export const NODE_PROCEDURES = {
  /** Memory in KiB. */
  nodeGetInfo: high(
    6,
    {},
    { model: charArray(32), memory: uhyper, cpus: int, mhz: int, nodes: int, sockets: int, cores: int, threads: int },
  ),
  /** `cpuNum` −1 is all of them. With `nparams` 0 only the number of statistics comes back. */
  nodeGetCpuStats: high(227, { cpuNum: int, nparams: int, flags }, { params: stats, nparams: int }),
  /** `cellNum` −1 is all of them. With `nparams` 0 only the number of statistics comes back. */
  nodeGetMemoryStats: high(228, { nparams: int, cellNum: int, flags }, { params: stats, nparams: int }),
  /** In bytes. */
  nodeGetFreeMemory: high(102, {}, { freeMem: uhyper }),
  nodeGetCellsFreeMemory: high(101, { startCell: int, maxcells: int }, { cells: list(uhyper, LIMITS.numaCells) }),
  /** Free ones of each size (`pages`, in KiB) of each cell; sizes are the inner order. */
  nodeGetFreePages: low(
    340,
    { pages: list(uint, LIMITS.numaCells), startCell: int, cellCount: uint, flags },
    { counts: list(uhyper, LIMITS.numaCells) },
  ),
  nodeGetCpuMap: low(293, { needMap: int, needOnline: int, flags }, { cpumap: opaque(LIMITS.cpuMapBytes), online: uint, ret: int }),

  connectListAllNodeDevices: high(285, { needResults, flags }, { devices: list(nodeDevice, LIMITS.nodeDevices), ret: uint }),
  nodeDeviceLookupByName: high(113, { name: string }, { dev: nodeDevice }),
  nodeDeviceGetXmlDesc: low(114, { name: string, flags }, { xml: string }),
  nodeDeviceGetParent: high(115, { name: string }, { parentName: optionalString }),
  nodeDeviceDetachFlags: low(301, { name: string, driverName: optionalString, flags }),
  nodeDeviceReAttach: low(119, { name: string }),
  nodeDeviceReset: low(120, { name: string }),
};
