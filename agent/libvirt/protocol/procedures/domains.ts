import { flag, flags, int, list, needResults, optionalString, string, struct, uhyper, uint, uuid } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, long, low } from "../procedure.ts";
import { domain } from "../structures.ts";
import { typedParameters } from "../typed-parameters.ts";

const dom = domain;

/** Looking domains up, defining them, and their life from start to end. */
export const DOMAIN_PROCEDURES = {
  /** `flags`: bits of LIST_DOMAINS. */
  connectListAllDomains: high(273, { needResults, flags }, { domains: list(domain), ret: uint }),
  domainLookupById: high(22, { id: int }, { dom }),
  domainLookupByName: high(23, { name: string }, { dom }),
  domainLookupByUuid: high(24, { uuid }, { dom }),
  domainDefineXmlFlags: high(350, { xml: string, flags }, { dom }),
  /** A transient domain: gone when it stops. Not on a connection of its own, so that START.AUTODESTROY means the client's. */
  domainCreateXml: low(10, { xmlDesc: string, flags }, { dom }),
  domainCreateWithFlags: long(196, { dom, flags }, { dom }),
  domainUndefineFlags: high(231, { dom, flags }),
  domainShutdownFlags: long(258, { dom, flags }),
  domainReboot: long(27, { dom, flags }),
  domainReset: low(245, { dom, flags }),
  domainDestroyFlags: long(234, { dom, flags }),
  domainSuspend: long(34, { dom }),
  domainResume: long(28, { dom }),
  domainPmWakeup: low(267, { dom, flags }),
  domainInjectNmi: low(210, { dom, flags }),
  domainRename: low(358, { dom, newName: optionalString, flags }, { retcode: int }),

  domainIsActive: high(150, { dom }, { active: flag }),
  domainIsPersistent: high(151, { dom }, { persistent: flag }),
  domainIsUpdated: high(202, { dom }, { updated: flag }),
  /** `state` is an index of DOMAIN_STATES, `reason` one of DOMAIN_STATE_REASONS[state]. */
  domainGetState: high(212, { dom, flags }, { state: int, reason: int }),
  /** Memory in KiB, `cpuTime` in nanoseconds. */
  domainGetInfo: low(16, { dom }, { state: uint, maxMem: uhyper, memory: uhyper, nrVirtCpu: uint, cpuTime: uhyper }),
  domainGetControlInfo: high(229, { dom, flags }, { state: uint, details: uint, stateTime: uhyper }),
  domainGetXmlDesc: low(14, { dom, flags }, { xml: string }),
  domainGetMessages: low(426, { dom, flags }, { msgs: list(string, LIMITS.messages) }),
  /** `type`: 0 description, 1 title, 2 an element of its own, found by `uri`. Null removes it. */
  domainSetMetadata: low(264, { dom, type: int, metadata: optionalString, key: optionalString, uri: optionalString, flags }),
  domainGetMetadata: low(265, { dom, type: int, uri: optionalString, flags }, { metadata: string }),
  domainSetAutostart: high(29, { dom, autostart: flag }),
  domainGetAutostart: high(15, { dom }, { autostart: flag }),

  domainManagedSave: long(182, { dom, flags }),
  domainHasManagedSaveImage: low(183, { dom, flags }, { result: flag }),
  domainManagedSaveRemove: low(184, { dom, flags }),

  domainGetJobInfo: low(
    163,
    { dom },
    {
      type: int,
      timeElapsed: uhyper,
      timeRemaining: uhyper,
      dataTotal: uhyper,
      dataProcessed: uhyper,
      dataRemaining: uhyper,
      memTotal: uhyper,
      memProcessed: uhyper,
      memRemaining: uhyper,
      fileTotal: uhyper,
      fileProcessed: uhyper,
      fileRemaining: uhyper,
    },
  ),
  domainGetJobStats: low(298, { dom, flags }, { type: int, params: typedParameters(LIMITS.jobParameters) }),
  domainAbortJob: low(164, { dom }),
  domainMemoryStats: low(159, { dom, maxStats: uint, flags }, { stats: list(struct({ tag: int, val: uhyper }), LIMITS.memoryStats) }),
};
