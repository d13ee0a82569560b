import { createHash, timingSafeEqual } from "node:crypto";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { PrepareDestinationRequest, PrepareDestinationResponse } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { LibvirtConnection } from "../../../libvirt/connection.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { waitAtMost } from "../../../libvirt/wait.ts";
import type { MigrationChannel } from "../../migration-driver.ts";
import { attempt } from "../driver-errors.ts";
import { type DestinationDomain, writeDestination } from "./description.ts";
import type { DestinationNote, MigrationNotes } from "./migration-notes.ts";
import {
  channelParameters,
  channelsOf,
  decodeCookie,
  diskParameters,
  domainParameters,
  encodeCookie,
  migrationFlags,
  nameParameter,
} from "./migration-parameters.ts";
import { socketPath } from "./socket-directory.ts";

export interface DestinationAttemptOptions {
  client: LibvirtClient;
  log: Logger;
  notes: MigrationNotes;
  note: DestinationNote;
  request: PrepareDestinationRequest;
  /** As it is to be here. */
  domain: DestinationDomain;
  /** Of the disks that are copied. */
  targets: readonly string[];
  /** Called once. */
  onEnded: (attempt: DestinationAttempt) => void;
}

/** QEMU is started, and may be slow at that. */
const PREPARE_MS = 120_000;
const FINISH_MS = 120_000;
/** While nothing goes through it. */
const IDLE_MS = 600_000;
const LOOK_MS = 30_000;
const CONNECT_MS = 10_000;
const MAX_CONNECTIONS = 64;

/** What `finish` gives: whether the guest came over, and the cookie for the source. */
export interface Finished {
  cameOver: boolean;
  cookie: string;
}

/** The destination's side of one attempt: libvirt destroys the guest that waits when its connection ends, which is therefore the attempt's own. */
export class DestinationAttempt {
  readonly migrationId: string;
  readonly prepared: PrepareDestinationResponse;
  readonly #options: DestinationAttemptOptions;
  readonly #connection: LibvirtConnection;
  readonly #ticket: Buffer;
  readonly #sockets = new Set<Socket>();
  readonly #idleTimer: NodeJS.Timeout;
  #usedAt = performance.now();
  /** That went through the connections that are open, as of the last look. */
  #bytes = 0;
  #finishing: Promise<Finished> | null = null;
  #isOver = false;

  private constructor(options: DestinationAttemptOptions, connection: LibvirtConnection, prepared: PrepareDestinationResponse) {
    this.migrationId = options.request.migrationId;
    this.prepared = prepared;
    this.#options = options;
    this.#connection = connection;
    this.#ticket = digest(options.request.ticket);
    this.#idleTimer = setInterval(() => this.#expire(), LOOK_MS);
    void connection.ended.then(() => this.#end());
  }

  static async prepare(options: DestinationAttemptOptions, signal: AbortSignal): Promise<DestinationAttempt> {
    const { client, request, domain, targets, note } = options;
    const connection = await client.openConnection({ signal, timeoutMs: PREPARE_MS });
    try {
      const params = [
        ...channelParameters(note.socketDirectory, request.copiesDisks),
        ...domainParameters(domain.domainXml, null),
        ...diskParameters(request.copiesDisks ? targets : []),
      ];
      const args = { params, cookieIn: decodeCookie(request.sourceCookie), flags: migrationFlags(request.copiesDisks) };
      const { cookieOut } = await attempt("get ready for the guest", () =>
        connection.call("domainMigratePrepare3Params", args, { signal, timeoutMs: PREPARE_MS }),
      );
      return new DestinationAttempt(options, connection, { cookie: encodeCookie(cookieOut), destination: writeDestination(domain) });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  isFor(ticket: string): boolean {
    return timingSafeEqual(digest(ticket), this.#ticket);
  }

  /** A connection to QEMU, which waits for the guest. */
  async connect(channel: string): Promise<Duplex> {
    const known = channelsOf(this.#options.request.copiesDisks).find((one): one is MigrationChannel => one === channel);
    if (known === undefined) throw new FleetError("INVALID_ARGUMENT", "There is no such channel.", { details: { field: "channel" } });
    if (this.#finishing !== null) throw new FleetError("FAILED_PRECONDITION", "The guest is there already.", { reason: "MigrationOver" });
    if (this.#sockets.size >= MAX_CONNECTIONS) throw new FleetError("RESOURCE_EXHAUSTED", "A migration has few connections.");
    const socket = connect({ path: socketPath(this.#options.note.socketDirectory, known), allowHalfOpen: true });
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#used();
    });
    const opened = Promise.withResolvers<void>();
    socket.once("connect", () => opened.resolve());
    socket.on("error", (error) => opened.reject(unreachable(error)));
    opened.promise.catch(() => undefined);
    await waitAtMost(opened.promise, CONNECT_MS, undefined, () => unreachable(new Error("no answer"))).catch((error: unknown) => {
      socket.destroy();
      throw error;
    });
    return socket;
  }

  /** Once: who asks again gets the same answer. Throws UNAVAILABLE where nobody knows whether it came over. */
  finish(cookie: string): Promise<Finished> {
    this.#finishing ??= this.#finish(cookie);
    return this.#finishing;
  }

  /** The guest that waits is destroyed; one whose `finish` was asked for is waited for. True: it came over before. */
  async cancel(): Promise<boolean> {
    if (this.#finishing !== null) return (await this.#finishing.catch(() => null))?.cameOver ?? false;
    this.#finishing = Promise.resolve({ cameOver: false, cookie: "" });
    await this.#call("", true).catch((error: unknown) => this.#log("a migration was cancelled", error));
    await this.#connection.close();
    this.#end();
    return false;
  }

  /** Ends with the connection. */
  async abandon(): Promise<void> {
    await this.#connection.close();
    this.#end();
  }

  async #finish(cookie: string): Promise<Finished> {
    const { notes, note } = this.#options;
    await notes.save({ ...note, state: "finishing" });
    try {
      const { cookieOut } = await this.#call(cookie, false);
      return { cameOver: true, cookie: encodeCookie(cookieOut) };
    } catch (error) {
      // libvirt has destroyed it, and says why.
      if (!(error instanceof LibvirtError)) throw error;
      this.#log("a guest could not be started at its destination", error);
      return { cameOver: false, cookie: "" };
    } finally {
      await this.#connection.close();
      this.#end();
    }
  }

  async #call(cookie: string, cancelled: boolean) {
    const { request, note } = this.#options;
    const args = {
      params: nameParameter(note.domainName),
      cookieIn: decodeCookie(cookie),
      flags: migrationFlags(request.copiesDisks),
      cancelled,
    };
    return await this.#connection.call("domainMigrateFinish3Params", args, { timeoutMs: FINISH_MS });
  }

  #log(message: string, error: unknown): void {
    this.#options.log.info({ migrationId: this.migrationId, err: error }, message);
  }

  #used(): void {
    this.#usedAt = performance.now();
  }

  #expire(): void {
    const bytes = [...this.#sockets].reduce((sum, { bytesWritten, bytesRead }) => sum + bytesWritten + bytesRead, 0);
    if (bytes !== this.#bytes) this.#used();
    this.#bytes = bytes;
    if (this.#finishing !== null || performance.now() - this.#usedAt < IDLE_MS) return;
    this.#options.log.info({ migrationId: this.migrationId }, "a migration that was prepared did not go on: it is undone");
    void this.#connection.close();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#idleTimer);
    for (const socket of this.#sockets) socket.destroy();
    this.#options.onEnded(this);
  }
}

/** Of one length, whatever is compared. */
function digest(ticket: string): Buffer {
  return createHash("sha256").update(ticket).digest();
}

function unreachable(cause: Error): FleetError {
  return new FleetError("UNAVAILABLE", `What waits for the guest cannot be reached (${cause.message}).`, {
    reason: "GuestNotAwaited",
    cause,
  });
}
