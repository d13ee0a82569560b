import { flags, int, list, needResults, opaque, optionalString, string, uhyper } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, long, low } from "../procedure.ts";
import { domain, snapshot } from "../structures.ts";
import { typedParameters } from "../typed-parameters.ts";

const dom = domain;
const snap = snapshot;

export const SNAPSHOT_AND_MIGRATION_PROCEDURES = {
  domainSnapshotCreateXml: long(185, { dom, xmlDesc: string, flags }, { snap }),
  domainListAllSnapshots: high(274, { dom, needResults, flags }, { snapshots: list(snapshot), ret: int }),
  domainSnapshotLookupByName: high(189, { dom, name: string, flags }, { snap }),
  domainSnapshotCurrent: low(191, { dom, flags }, { snap }),
  domainSnapshotGetXmlDesc: high(186, { snap, flags }, { xml: string }),
  domainRevertToSnapshot: long(192, { snap, flags }),
  domainSnapshotDelete: long(193, { snap, flags }),

  /**
   * With MIGRATE.PEER2PEER the source's daemon does the whole migration to the daemon at `dconnuri`; it answers when that is done. The
   * cookie is empty then.
   */
  domainMigratePerform3Params: long(
    305,
    {
      dom,
      dconnuri: optionalString,
      params: typedParameters(LIMITS.jobParameters),
      cookieIn: opaque(LIMITS.migrationCookieBytes),
      flags,
    },
    { cookieOut: opaque(LIMITS.migrationCookieBytes) },
  ),
  /** In MiB/s. */
  domainMigrateSetMaxSpeed: low(207, { dom, bandwidth: uhyper, flags }),
  domainMigrateGetMaxSpeed: low(242, { dom, flags }, { bandwidth: uhyper }),
  /** In milliseconds. */
  domainMigrateSetMaxDowntime: low(166, { dom, downtime: uhyper, flags }),
};
