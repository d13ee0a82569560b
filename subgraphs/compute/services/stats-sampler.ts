import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { checkId, checkInteger } from "../../kit/input-checks.ts";
import type { Store } from "../../kit/store/orm.ts";
import { Instance } from "../entities/instance.ts";
import { instanceNotFound } from "./instance-requests.ts";
import { SampleStream } from "./sample-stream.ts";
import type { Readable, StatsOutcome, StatsReads } from "./stats-reads.ts";

export interface StatsSamplerParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  store: Store;
  reads: StatsReads;
  /** What the seconds of an interval are counted in, in milliseconds. */
  tickMs: number;
}

const MAX_SECONDS = 3_600;
const MAX_STREAMS = 20_000;
/** Instances that one query asks for. */
const BATCH = 500;

interface Watched {
  streams: Set<SampleStream>;
}

/**
 * Readings for all who watch: on a shared clock, so that an instance is read once per tick however many watch it, and a node once for all
 * of its instances. Nothing runs while nobody watches.
 */
export class StatsSampler {
  readonly #parts: StatsSamplerParts;
  readonly #watched = new Map<string, Watched>();
  #streams = 0;
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Instances whose node has not answered yet: an agent that is slow holds up nobody else, and is not asked twice. */
  readonly #busy = new Set<string>();
  readonly #rounds = new Set<Promise<void>>();

  constructor(parts: StatsSamplerParts) {
    this.#parts = parts;
  }

  /**
   * A reading every `intervalSeconds` (1–3600), the first within a second. Of a reader that is slow, only the newest is kept. Ends with
   * NOT_FOUND, reason InstanceDeleted, once the instance is deleted. Rights: viewer. Throws INVALID_ARGUMENT, NOT_FOUND.
   */
  async watch(
    ctx: RequestContext,
    instanceId: string,
    intervalSeconds: number,
  ): Promise<AsyncIterableIterator<StatsOutcome & { id: string }>> {
    requireRole(ctx.identity, "viewer");
    const interval = checkInteger("intervalSeconds", intervalSeconds, 1, MAX_SECONDS);
    const [instance] = await this.#read([checkId("instanceId", instanceId)]);
    if (!instance) throw instanceNotFound(instanceId);
    if (instance.state === "DELETED") throw deleted(instanceId);
    if (this.#streams >= MAX_STREAMS) throw new FleetError("RESOURCE_EXHAUSTED", "Too many watch already.", { reason: "Overloaded" });
    return this.#open(ctx, instanceId, interval);
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const draining = new FleetError("DRAINING", "This replica is going away: watch again.", { reason: "Draining" });
    for (const { streams } of [...this.#watched.values()]) for (const stream of [...streams]) stream.end(draining);
    await Promise.all(this.#rounds);
  }

  #open(ctx: RequestContext, instanceId: string, interval: number): SampleStream {
    const watched = this.#watched.get(instanceId) ?? { streams: new Set() };
    this.#watched.set(instanceId, watched);
    const stream = new SampleStream(interval, ctx.signal, () => {
      this.#streams -= 1;
      watched.streams.delete(stream);
      if (watched.streams.size === 0 && this.#watched.get(instanceId) === watched) this.#watched.delete(instanceId);
    });
    this.#streams += 1;
    watched.streams.add(stream);
    if (ctx.signal.aborted) void stream.return();
    else if (this.#parts.ctx.signal.aborted) stream.end(new FleetError("DRAINING", "This replica is going away: watch again."));
    else this.#schedule();
    return stream;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#parts.ctx.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tick += 1;
      const round = this.#round(this.#tick).finally(() => this.#rounds.delete(round));
      this.#rounds.add(round);
      if (this.#watched.size > 0) this.#schedule();
    }, this.#parts.tickMs);
    this.#timer.unref();
  }

  async #round(tick: number): Promise<void> {
    const isDue = ([id, { streams }]: [string, Watched]) => !this.#busy.has(id) && [...streams].some((stream) => stream.isDue(tick));
    const due = [...this.#watched].filter(isDue).map(([id]) => id);
    if (due.length === 0) return;
    for (const id of due) this.#busy.add(id);
    try {
      const instances = await this.#read(due);
      const known = new Map(instances.map((instance) => [instance.id, instance]));
      for (const id of due) if ((known.get(id)?.state ?? "DELETED") === "DELETED") this.#endAll(id);
      const alive = Map.groupBy(
        instances.filter(({ state }) => state !== "DELETED"),
        ({ nodeId }) => nodeId,
      );
      await Promise.all([...alive.values()].map((group) => this.#sample(group, tick)));
    } catch (error) {
      if (!this.#parts.ctx.signal.aborted)
        this.#parts.ctx.log.warn({ err: error }, "instances were not sampled; the next round tries again");
    } finally {
      for (const id of due) this.#busy.delete(id);
    }
  }

  /** Of one node. */
  async #sample(instances: readonly Readable[], tick: number): Promise<void> {
    const outcomes = await this.#parts.reads.read(this.#parts.ctx, instances);
    for (const [index, { id }] of instances.entries()) {
      this.#busy.delete(id);
      this.#deliver(id, outcomes[index] as StatsOutcome, tick);
    }
  }

  #deliver(id: string, outcome: StatsOutcome, tick: number): void {
    for (const stream of this.#watched.get(id)?.streams ?? []) if (stream.isDue(tick)) stream.offer({ id, ...outcome }, tick);
  }

  #endAll(id: string): void {
    for (const stream of [...(this.#watched.get(id)?.streams ?? [])]) stream.end(deleted(id));
  }

  #read(ids: readonly string[]): Promise<Readable[]> {
    return this.#parts.store.read(async (em) => {
      const found: Readable[] = [];
      for (let start = 0; start < ids.length; start += BATCH) {
        const where = { id: { $in: ids.slice(start, start + BATCH) } };
        found.push(...(await em.find(Instance, where, { fields: ["id", "nodeId", "state", "managed"] })));
      }
      return found;
    });
  }
}

function deleted(instanceId: string): FleetError {
  return new FleetError("NOT_FOUND", "The instance was deleted.", {
    reason: "InstanceDeleted",
    details: { kind: "Instance", id: instanceId },
  });
}
