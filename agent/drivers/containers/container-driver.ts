import type { Logger } from "../../../platform/observability/log.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { type DeviceUsers, NO_USERS } from "../../hardware/device-users.ts";
import type { FindCredential } from "../image-driver.ts";
import type {
  DriverListener,
  InstanceDriver,
  InstanceMark,
  InstancePlan,
  InstanceSample,
  NativeInstance,
  Ref,
  TypeSupport,
} from "../instance-driver.ts";
import { precondition } from "../shared/refusals.ts";
import { ContainerConsoles } from "./consoles/container-consoles.ts";
import { adoptContainer } from "./container-adoption.ts";
import { createContainer } from "./container-creation.ts";
import type { ContainerFacts } from "./container-facts.ts";
import { ContainerImages } from "./container-images.ts";
import { isProbe } from "./container-mark.ts";
import type { ContainerNotes } from "./container-notes.ts";
import { removeAll } from "./container-removal.ts";
import { killContainer, requestStop, resumeContainer, startContainer, suspendContainer } from "./container-runs.ts";
import { readSamples } from "./container-samples.ts";
import { resizeContainer } from "./container-sizes.ts";
import { conditionOf } from "./container-state.ts";
import { ContainerSupport } from "./container-support.ts";
import { ContainerEngine } from "./engine.ts";
import { attempt } from "./engine-errors.ts";
import { EngineHost } from "./engine-host.ts";
import { EngineWatch, type WatchLimits } from "./engine-watch.ts";
import { ImagePulls, type PullLimits } from "./image-pulls.ts";
import { effectiveCores } from "./limits.ts";

export interface ContainerDriverOptions {
  /** Of Docker's API: Docker's own, or podman's. */
  socketPath: string;
  /** Kept over restarts of the agent: adopted containers are known by them alone. */
  notes: ContainerNotes;
  /** Directories of the host that containers may mount, with what is in them. */
  mountRoots: readonly string[];
  /** Accounts for registries; without it there are none. */
  findCredential?: FindCredential;
  log: Logger;
  pulls?: PullLimits;
  watch?: WatchLimits;
}

/** Runs containers by the Docker Engine API. */
export class ContainerDriver implements InstanceDriver {
  readonly name = "containers";
  readonly types = [InstanceType.CONTAINER];
  readonly consoles: ContainerConsoles;
  readonly images: ContainerImages;
  readonly storage = null;
  readonly snapshots = null;
  readonly migrations = null;
  readonly devices = null;
  readonly #host: EngineHost;
  readonly #watch: EngineWatch;
  readonly #pulls: ImagePulls;
  readonly #support: ContainerSupport;

  constructor({ socketPath, notes, mountRoots, findCredential = async () => null, log, pulls, watch }: ContainerDriverOptions) {
    this.#host = new EngineHost(new ContainerEngine(socketPath), notes, mountRoots, log);
    this.consoles = new ContainerConsoles(this.#host);
    this.#watch = new EngineWatch(this.#host, watch);
    this.#pulls = new ImagePulls(this.#host.engine, log, findCredential, pulls);
    this.images = new ContainerImages(this.#host, this.#pulls);
    this.#support = new ContainerSupport(this.#host, this.#watch);
  }

  get available(): boolean {
    return this.#watch.connected;
  }

  support(signal: AbortSignal): Promise<TypeSupport[]> {
    return this.#support.read(signal);
  }

  async list(signal: AbortSignal): Promise<NativeInstance[]> {
    const { inspections, runs } = this.#host;
    return await attempt("list its containers", async () => {
      // Probes come and go, so that they can vanish while they are described.
      const listed = (await this.#host.listed(signal)).filter(({ Labels }) => !isProbe(Labels));
      const ids = new Set(listed.map(({ Id }) => Id));
      inspections.keepOnly(ids);
      runs.keepOnly(ids);
      const all = await inspections.all(listed, signal);
      return await Promise.all(all.map((facts) => this.#native(facts)));
    });
  }

  async find(ref: Ref, signal: AbortSignal): Promise<NativeInstance | null> {
    const facts = await attempt("describe a container", () => this.#host.find(ref, signal));
    return facts === null || facts.isProbe ? null : await this.#native(facts);
  }

  listen(listener: DriverListener): () => void {
    return this.#watch.listen(listener);
  }

  async create(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<NativeInstance> {
    return await this.#native(
      await attempt("make the container", () => createContainer(this.#host, this.#pulls, plan, onActivity, signal)),
    );
  }

  async start(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#change("start the container", ref, signal, (facts) =>
      this.#watch.duringStart(facts.id, () => startContainer(this.#host, facts, signal)),
    );
  }

  async requestStop(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#change("stop the container", ref, signal, (facts) => requestStop(this.#host, facts, signal));
  }

  async kill(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#change("kill the container", ref, signal, (facts) => killContainer(this.#host, facts, signal));
  }

  async suspend(ref: Ref, signal: AbortSignal, { toDisk } = { toDisk: false }): Promise<void> {
    if (toDisk) throw precondition("SuspendToDiskUnsupported", "A container's memory cannot be written to disk: suspend it without.");
    await this.#change("suspend the container", ref, signal, (facts) => suspendContainer(this.#host, facts, signal));
  }

  async resume(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#change("resume the container", ref, signal, (facts) => resumeContainer(this.#host, facts, signal));
  }

  async resize(plan: InstancePlan, signal: AbortSignal): Promise<void> {
    await this.#change("resize the container", { instanceId: plan.instanceId }, signal, (facts) =>
      resizeContainer(this.#host, facts, plan, signal),
    );
  }

  async remove(ref: Ref, signal: AbortSignal): Promise<void> {
    await attempt("remove the container", () => removeAll(this.#host, ref, signal));
  }

  async adopt(nativeId: string, mark: InstanceMark, signal: AbortSignal): Promise<void> {
    await attempt("adopt the container", () => adoptContainer(this.#host, nativeId, mark, signal));
  }

  async sample(nativeIds: readonly string[], signal: AbortSignal): Promise<InstanceSample[]> {
    return await attempt("read the containers' statistics", async () => {
      const { info, isPodman } = await this.#host.facts(signal);
      const readings = await readSamples(this.#host.engine, isPodman, nativeIds, signal);
      const samples: InstanceSample[] = [];
      for (const [nativeId, reading] of readings) {
        const facts = await this.#host.find({ nativeId }, signal);
        // Without a limit, all of the host's are its own.
        if (facts !== null) samples.push({ nativeId, cpuCores: this.#cores(facts) || info.NCPU, ...reading });
      }
      return samples;
    });
  }

  /** Containers get none of the host's devices. */
  async deviceUsers(): Promise<DeviceUsers> {
    return NO_USERS;
  }

  async libvirtFacts(): Promise<null> {
    return null;
  }

  async close(): Promise<void> {
    await this.#watch.close();
    await this.#pulls.close();
    this.#host.engine.close();
  }

  async #change(task: string, ref: Ref, signal: AbortSignal, work: (facts: ContainerFacts) => Promise<void>): Promise<void> {
    await attempt(task, async () => {
      // What is known may be older than an event that is on its way.
      if ("nativeId" in ref) this.#host.inspections.changed(ref.nativeId);
      await work(await this.#host.own(ref, signal));
    });
  }

  async #native(facts: ContainerFacts): Promise<NativeInstance> {
    const condition = conditionOf(facts, await this.#host.runs.notesOn(facts));
    return {
      nativeId: facts.id,
      mark: this.#host.markOf(facts),
      name: facts.name,
      type: InstanceType.CONTAINER,
      ...condition,
      startedAt: facts.startedAt,
      cpuCores: this.#cores(facts),
      memoryBytes: this.#host.notes.all.get(facts.id)?.limits?.memoryBytes ?? facts.memoryBytes,
      ipAddresses: facts.ipAddresses,
    };
  }

  /** 0: no limit. */
  #cores({ id, cpuCores }: ContainerFacts): number {
    const limits = this.#host.notes.all.get(id)?.limits ?? null;
    return limits === null ? cpuCores : effectiveCores(limits);
  }
}
