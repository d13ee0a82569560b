import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type {
  BeginSourceRequest,
  BeginSourceResponse,
  MigrationProgress,
  PerformSourceRequest,
} from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { LibvirtConnection } from "../../../libvirt/connection.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { DOMAIN_XML } from "../../../libvirt/values.ts";
import { waitAtMost } from "../../../libvirt/wait.ts";
import type { CarryConnection } from "../../migration-driver.ts";
import { attempt, driverError } from "../driver-errors.ts";
import { readDestination } from "./description.ts";
import { JobWatch } from "./job-watch.ts";
import type { MigrationNotes, SourceNote } from "./migration-notes.ts";
import {
  bandwidthParameters,
  channelParameters,
  channelsOf,
  decodeCookie,
  diskParameters,
  domainParameters,
  encodeCookie,
  sourceFlags,
} from "./migration-parameters.ts";
import { MigrationRelay } from "./migration-relay.ts";
import { makeSocketDirectory, type QemuUser, removeSocketDirectory } from "./socket-directory.ts";

export interface SourceAttemptOptions {
  client: LibvirtClient;
  log: Logger;
  notes: MigrationNotes;
  dom: DomainReference;
  request: BeginSourceRequest;
  /** Of the disks that are copied. */
  targets: readonly string[];
  socketDirectory: string;
  qemu: QemuUser;
  /** Called once. */
  onEnded: (attempt: SourceAttempt) => void;
}

const BEGIN_MS = 60_000;
/** Between `begin` and `perform` only the destination gets ready. */
const IDLE_MS = 120_000;
/** The longest migration; its caller has a deadline of its own. */
const PERFORM_MS = 24 * 3_600_000;
const CONFIRM_MS = 120_000;
/** For libvirt to obey an order to stop; then the connections to the destination are cut. */
const ABORT_MS = 20_000;
const ABORT_AGAIN_MS = 500;
/** For what QEMU has sent to arrive. */
const DRAIN_MS = 10_000;

/** The source's side of one attempt: libvirt forgets it with its connection, which is therefore the attempt's own. */
export class SourceAttempt {
  readonly migrationId: string;
  readonly begun: BeginSourceResponse;
  readonly #options: SourceAttemptOptions;
  readonly #connection: LibvirtConnection;
  readonly #over = Promise.withResolvers<void>();
  readonly #aborting = new AbortController();
  #state: "begun" | "performing" | "performed" | "over" = "begun";
  #cookie = "";
  #idleTimer: NodeJS.Timeout | undefined;

  private constructor(options: SourceAttemptOptions, connection: LibvirtConnection, begun: BeginSourceResponse) {
    this.migrationId = options.request.migrationId;
    this.begun = begun;
    this.#options = options;
    this.#connection = connection;
    this.#idleTimer = setTimeout(() => this.#expire(), IDLE_MS);
    void connection.ended.then(() => {
      // During `perform`, that says itself what became of it.
      if (this.#state !== "performing") this.#end();
    });
  }

  static async begin(options: SourceAttemptOptions, signal: AbortSignal): Promise<SourceAttempt> {
    const { client, dom, request, targets } = options;
    const connection = await client.openConnection({ signal, timeoutMs: BEGIN_MS });
    try {
      const { xml: persistentXml } = await attempt("read the domain's definition", () =>
        connection.call("domainGetXmlDesc", { dom, flags: DOMAIN_XML.SECURE | DOMAIN_XML.INACTIVE | DOMAIN_XML.MIGRATABLE }, { signal }),
      );
      const args = { dom, params: diskParameters(targets), flags: sourceFlags(request.copiesDisks) };
      const { cookieOut, xml } = await attempt("begin the migration", () =>
        connection.call("domainMigrateBegin3Params", args, { signal, timeoutMs: BEGIN_MS }),
      );
      return new SourceAttempt(options, connection, { sourceCookie: encodeCookie(cookieOut), domainXml: xml, persistentXml });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  get isOver(): boolean {
    return this.#state === "over";
  }

  get isPerformed(): boolean {
    return this.#state === "performed";
  }

  /** Resolves when it is over. */
  get ended(): Promise<void> {
    return this.#over.promise;
  }

  /** The cookie for the destination, which nobody gets before it is noted that it may be known. Else the guest goes on here. */
  async perform(
    request: PerformSourceRequest,
    carry: CarryConnection,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string> {
    if (this.#state === "performed") return this.#cookie;
    if (this.#state !== "begun") throw conflict("The guest is on its way already.", this.migrationId);
    this.#state = "performing";
    clearTimeout(this.#idleTimer);
    const either = AbortSignal.any([signal, this.#aborting.signal]);
    try {
      await this.#note("performing");
      const cookie = await this.#copy(request, carry, onProgress, either);
      either.throwIfAborted();
      await this.#note("performed");
      this.#cookie = cookie;
      this.#state = "performed";
      return cookie;
    } catch (error) {
      await this.#goOnHere();
      throw either.aborted ? FleetError.from(either.reason) : error;
    } finally {
      await removeSocketDirectory(this.#options.socketDirectory);
    }
  }

  /** Ends it: with `cancelled` the guest goes on here, else it is gone. Throws where libvirt says nothing to that. */
  async confirm(cancelled: boolean, cookie: string): Promise<void> {
    if (this.#state === "performing") {
      this.#aborting.abort(new FleetError("CANCELLED", "The migration was cancelled.", { reason: "MigrationCancelled" }));
      await waitAtMost(this.ended, ABORT_MS * 2, undefined, () => new FleetError("UNAVAILABLE", "libvirt does not let the migration end."));
      return;
    }
    if (this.#state === "over") return;
    await this.#confirm(cancelled, cookie);
    await this.#forget();
  }

  /** Without a word to libvirt, which then does what it does when a connection is lost. */
  async abandon(): Promise<void> {
    this.#aborting.abort(new FleetError("CANCELLED", "The agent is stopping."));
    await this.#connection.close();
    this.#end();
  }

  async #copy(
    request: PerformSourceRequest,
    carry: CarryConnection,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const { client, dom, socketDirectory, targets, qemu, log } = this.#options;
    const { copiesDisks, cookie, maxDowntimeMs, bandwidthBps, autoConvergeSeconds } = request;
    const { domainXml, persistentXml } = readDestination(request.destination);
    signal.throwIfAborted();
    await makeSocketDirectory(socketDirectory, qemu);
    const relay = await MigrationRelay.listen(socketDirectory, channelsOf(copiesDisks), qemu, carry);
    const watch = new JobWatch({ client, dom, maxDowntimeMs, patienceSeconds: autoConvergeSeconds, onProgress, log });
    const done = new AbortController();
    const onAbort = () => void this.#stopJob(relay, done.signal);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const params = [
        ...channelParameters(socketDirectory, copiesDisks),
        ...domainParameters(domainXml, persistentXml),
        ...diskParameters(copiesDisks ? targets : []),
        ...bandwidthParameters(bandwidthBps),
      ];
      const args = { dom, params, cookieIn: decodeCookie(cookie), flags: sourceFlags(copiesDisks, autoConvergeSeconds > 0) };
      const { cookieOut } = await this.#connection.call("domainMigratePerform3Params", args, { timeoutMs: PERFORM_MS });
      // What does not arrive lets `finish` fail.
      await waitAtMost(relay.drained(), DRAIN_MS, signal, () => new Error("late")).catch(() => undefined);
      if (relay.failure !== null) throw tunnelBroken(relay.failure);
      return encodeCookie(cookieOut);
    } catch (error) {
      throw relay.failure === null ? driverError(error, "migrate the guest") : tunnelBroken(relay.failure);
    } finally {
      done.abort();
      signal.removeEventListener("abort", onAbort);
      await Promise.all([watch.stop(), relay.close()]);
    }
  }

  /** libvirt takes an order to stop only once the job is under way. */
  async #stopJob(relay: MigrationRelay, done: AbortSignal): Promise<void> {
    const { client, dom } = this.#options;
    const until = performance.now() + ABORT_MS;
    while (!done.aborted && performance.now() < until) {
      await client.call("domainAbortJob", { dom }, { signal: done, timeoutMs: ABORT_MS }).catch(() => undefined);
      await pause(ABORT_AGAIN_MS, done);
    }
    if (!done.aborted) await relay.close();
  }

  /** `perform` failed: libvirt has brought the guest on again, or it is asked to; where it cannot be asked now, the note says what to do later. */
  async #goOnHere(): Promise<void> {
    // Where `perform` itself failed, there is nothing to confirm.
    await this.#confirm(true, "").catch(() => undefined);
    await this.#forget();
  }

  async #confirm(cancelled: boolean, cookie: string): Promise<void> {
    const { dom, request } = this.#options;
    const args = { dom, params: [], cookieIn: decodeCookie(cookie), flags: sourceFlags(request.copiesDisks), cancelled };
    await attempt("end the migration", () => this.#connection.call("domainMigrateConfirm3Params", args, { timeoutMs: CONFIRM_MS }));
  }

  async #forget(): Promise<void> {
    await this.#connection.close();
    this.#end();
  }

  async #note(state: SourceNote["state"]): Promise<void> {
    const { notes, request, dom, socketDirectory } = this.#options;
    const { migrationId, instanceId, generation } = request;
    await notes.save({ role: "source", state, migrationId, instanceId, generation, uuid: dom.uuid, domainName: dom.name, socketDirectory });
  }

  #expire(): void {
    this.#options.log.info({ migrationId: this.migrationId }, "a migration that was begun did not go on: it is forgotten");
    void this.#connection.close();
  }

  #end(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    clearTimeout(this.#idleTimer);
    this.#over.resolve();
    this.#options.onEnded(this);
  }
}

export function conflict(message: string, migrationId: string): FleetError {
  return new FleetError("CONFLICT", message, { reason: "MigrationUnderWay", details: { migrationId } });
}

function tunnelBroken(cause: Error): FleetError {
  return new FleetError("UNAVAILABLE", `The connection to the destination's agent broke: ${cause.message}`, {
    reason: "TunnelBroken",
    cause,
  });
}
