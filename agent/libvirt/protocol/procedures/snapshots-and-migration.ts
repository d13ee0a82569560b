import { flag, flags, int, list, needResults, opaque, optionalString, string, uhyper } from "../codec.ts";
import { LIMITS } from "../limits.ts";
import { high, long, low } from "../procedure.ts";
import { domain, snapshot } from "../structures.ts";
import { typedParameters } from "../typed-parameters.ts";

const dom = domain;
const snap = snapshot;
const cookie = opaque(LIMITS.migrationCookieBytes);
const parameters = typedParameters(LIMITS.jobParameters);

export const SNAPSHOT_AND_MIGRATION_PROCEDURES = {
  domainSnapshotCreateXml: long(185, { dom, xmlDesc: string, flags }, { snap }),
  domainListAllSnapshots: high(274, { dom, needResults, flags }, { snapshots: list(snapshot), ret: int }),
  domainSnapshotLookupByName: high(189, { dom, name: string, flags }, { snap }),
  domainSnapshotCurrent: low(191, { dom, flags }, { snap }),
  domainSnapshotGetXmlDesc: high(186, { snap, flags }, { xml: string }),
  domainRevertToSnapshot: long(192, { snap, flags }),
  domainSnapshotDelete: long(193, { snap, flags }),

  /**
   * The phases of a migration that its client leads, in this order: begin and perform at the source, prepare before perform and finish after it
   * at the destination, confirm at the source. Flags are bits of MIGRATE. Each side ties the attempt to the connection that began it there: its
   * end before `finish` destroys the guest that waits, and before `perform` forgets the attempt; after `perform` the source's guest stays
   * paused. Cookies are handed on as they are, each to the next phase at the other side.
   */
  domainMigrateBegin3Params: long(302, { dom, params: parameters, flags }, { cookieOut: cookie, xml: string }),
  domainMigratePrepare3Params: long(303, { params: parameters, cookieIn: cookie, flags }, { cookieOut: cookie, uriOut: optionalString }),
  /**
   * Answers when all is copied. With MIGRATE.PEER2PEER the source's daemon does the whole migration to the daemon at `dconnuri` instead; the
   * cookie is empty then.
   */
  domainMigratePerform3Params: long(
    305,
    { dom, dconnuri: optionalString, params: parameters, cookieIn: cookie, flags },
    { cookieOut: cookie },
  ),
  /** `cancelled`: the guest that waits is destroyed, and that is told as the error MIGRATE_FINISH_OK. */
  domainMigrateFinish3Params: long(306, { params: parameters, cookieIn: cookie, flags, cancelled: flag }, { dom, cookieOut: cookie }),
  /** `cancelled`: the guest goes on here; otherwise its process is ended. */
  domainMigrateConfirm3Params: long(307, { dom, params: parameters, cookieIn: cookie, flags, cancelled: flag }),
  /** In MiB/s. */
  domainMigrateSetMaxSpeed: low(207, { dom, bandwidth: uhyper, flags }),
  domainMigrateGetMaxSpeed: low(242, { dom, flags }, { bandwidth: uhyper }),
  /** In milliseconds. */
  domainMigrateSetMaxDowntime: low(166, { dom, downtime: uhyper, flags }),
};
