import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import type { ProcedureArguments, ProcedureName, ProcedureResult } from "../../libvirt/protocol/table.ts";
import { AFFECT, DOMAIN_STATES, METADATA, SAVE, SHUTDOWN, UNDEFINE } from "../../libvirt/values.ts";
import { precondition } from "../shared/refusals.ts";
import type { Domain } from "./domain-index.ts";
import { RUN_NAMESPACE, RUN_PREFIX, runXml } from "./domain-mark.ts";
import { isActive } from "./domain-state.ts";
import { driverError } from "./driver-errors.ts";
import type { Networks } from "./networks.ts";

export interface DomainControlOptions {
  client: LibvirtClient;
  networks: Networks;
  /** Called before a guest is booted; what it throws ends the start. */
  beforeBoot?: (domain: Domain, signal: AbortSignal) => Promise<void>;
}

/** Where QEMU may have to be waited for. After its own end, libvirt looks 30 s for a QEMU that it had only begun to start. */
const LONG_MS = 90_000;
const ATTEMPTS = 3;
/** Much memory on a slow disk. */
const SAVE_MS = 30 * 60_000;
const RUNNING = DOMAIN_STATES.indexOf("RUNNING");

/** One domain's life: each method does nothing where its work has been done. */
export class DomainControl {
  readonly #client: LibvirtClient;
  readonly #networks: Networks;
  readonly #beforeBoot: DomainControlOptions["beforeBoot"];

  constructor({ client, networks, beforeBoot }: DomainControlOptions) {
    this.#client = client;
    this.#networks = networks;
    this.#beforeBoot = beforeBoot;
  }

  /** Also brings one on that stands still. */
  async start(domain: Domain, signal: AbortSignal): Promise<void> {
    switch (DOMAIN_STATES[domain.state]) {
      case "RUNNING":
      case "BLOCKED":
        return;
      case "PAUSED":
      case "PMSUSPENDED":
        // One whose start was cut off by libvirt's own end seems to stand still, until libvirt finds that it is gone.
        if (!(await this.#bringOn(domain, signal))) await this.#boot(domain, signal);
        return;
      case "SHUTDOWN":
        throw new FleetError("UNAVAILABLE", "The guest is shutting down: it can be started when that is over.", {
          reason: "InstanceStopping",
        });
      default:
        await this.#boot(domain, signal);
    }
  }

  /** Presses the power button. One that stands still is brought on first: it could not hear. */
  async requestStop(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom, state } = domain;
    if (domain.saved) {
      await this.#boot(domain, signal);
      return await this.requestStop({ ...domain, state: RUNNING, saved: false }, signal);
    }
    if (!isActive(state) || DOMAIN_STATES[state] === "SHUTDOWN") return;
    if (standsStill(state) && !(await this.#bringOn(domain, signal))) return;
    // Not by the guest's agent, whose silence would be waited for.
    const press = () => this.#client.call("domainShutdownFlags", { dom, flags: SHUTDOWN.ACPI }, { signal });
    await this.#change("ask the guest to shut down", domain, (now) => !isActive(now), press);
  }

  async kill(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom, state, saved } = domain;
    if (saved) await this.#unlessGone("throw its saved memory away", "domainManagedSaveRemove", { dom }, signal);
    if (!isActive(state)) return;
    const end = () => this.#client.call("domainDestroyFlags", { dom }, { signal, timeoutMs: LONG_MS });
    await this.#change("power the guest off", domain, (now) => !isActive(now), end);
  }

  /** FAILED_PRECONDITION InstanceNotRunning where it does not run. */
  async suspend(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom, state, saved } = domain;
    if (saved || DOMAIN_STATES[state] === "PAUSED") return;
    const pause = () => this.#client.call("domainSuspend", { dom }, { signal, timeoutMs: LONG_MS });
    const isThere =
      isActive(state) &&
      (await this.#change("suspend the guest", domain, (now) => !isActive(now) || DOMAIN_STATES[now] === "PAUSED", pause));
    if (!isThere) throw notRunning("suspended");
  }

  /** Its memory goes to the host's disk; the next start goes on from there. FAILED_PRECONDITION InstanceNotRunning, DeviceAttached. */
  async save(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom, state, saved, facts } = domain;
    if (saved) return;
    if (facts.deviceNotes.length > 0) {
      throw precondition("DeviceAttached", "The instance has devices of its host, whose state cannot be kept: detach them, or stop it.");
    }
    if (!isActive(state)) throw notRunning("suspended");
    const save = () => this.#client.call("domainManagedSave", { dom, flags: SAVE.RUNNING }, { signal, timeoutMs: SAVE_MS });
    await this.#change("write the guest's memory to the disk", domain, (now) => !isActive(now), save);
  }

  /** FAILED_PRECONDITION InstanceNotRunning where it does not run. */
  async resume(domain: Domain, signal: AbortSignal): Promise<void> {
    if (domain.saved) return await this.#boot(domain, signal);
    if (!isActive(domain.state) || !(await this.#bringOn(domain, signal))) throw notRunning("resumed");
  }

  /** Powers it off and removes what libvirt keeps of it: firmware variables, saved memory, snapshots' records. */
  async remove(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom } = domain;
    const flags = UNDEFINE.MANAGED_SAVE | UNDEFINE.SNAPSHOTS_METADATA | UNDEFINE.NVRAM | UNDEFINE.CHECKPOINTS_METADATA;
    let { state } = domain;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      await this.kill({ ...domain, state }, signal);
      await this.#unlessGone("remove the domain", "domainUndefineFlags", { dom, flags }, signal);
      // Somebody may have started it in between: then it still runs, and is gone once it stops.
      const now = await this.#unlessGone("read the domain's state", "domainGetState", { dom }, signal);
      if (now === null) return;
      state = now.state;
    }
    throw new FleetError("UNAVAILABLE", "The domain is started again while it is removed.", { reason: "DomainBusy" });
  }

  async #boot(domain: Domain, signal: AbortSignal): Promise<void> {
    const { dom, facts } = domain;
    const networks = facts.interfaces.map(({ network }) => network).filter((name) => name !== "");
    await this.#networks.start(networks, signal);
    await this.#beforeBoot?.(domain, signal);
    const start = () => this.#client.call("domainCreateWithFlags", { dom }, { signal, timeoutMs: LONG_MS });
    await this.#change("start the guest", domain, isActive, start);
    // For an agent that starts later; goes with the run.
    const run = { dom, type: METADATA.ELEMENT, metadata: runXml(new Date()), key: RUN_PREFIX, uri: RUN_NAMESPACE, flags: AFFECT.LIVE };
    await this.#client.call("domainSetMetadata", run, { signal }).catch(() => undefined);
  }

  /** False: it does not run. */
  async #bringOn(domain: Domain, signal: AbortSignal): Promise<boolean> {
    const { dom, state } = domain;
    if (!standsStill(state)) return true;
    const isDone = (now: number) => !standsStill(now);
    return await this.#change("resume the guest", domain, isDone, async () => {
      if (DOMAIN_STATES[state] === "PMSUSPENDED") await this.#client.call("domainPmWakeup", { dom }, { signal, timeoutMs: LONG_MS });
      else await this.#client.call("domainResume", { dom }, { signal, timeoutMs: LONG_MS });
    });
  }

  /**
   * What libvirt refuses is an error, unless the domain is meanwhile where it should be, or has ended by itself. Whether it runs now; as
   * far as is known, where libvirt refused nothing.
   */
  async #change(task: string, { dom }: Domain, isDone: (state: number) => boolean, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (LibvirtError.isCode(error, "OPERATION_INVALID", "OPERATION_FAILED")) {
        const { state } = await this.#client.call("domainGetState", { dom });
        if (isDone(state)) return isActive(state);
      }
      throw LibvirtError.isCode(error, "NO_DOMAIN") ? gone() : driverError(error, task);
    }
  }

  async #unlessGone<P extends ProcedureName>(
    task: string,
    procedure: P,
    args: ProcedureArguments<P>,
    signal: AbortSignal,
  ): Promise<ProcedureResult<P> | null> {
    try {
      return await this.#client.call(procedure, args, { signal });
    } catch (error) {
      if (LibvirtError.isCode(error, "NO_DOMAIN")) return null;
      throw driverError(error, task);
    }
  }
}

export function gone(): FleetError {
  return precondition("InstanceMissing", "The domain is not there any more.");
}

function notRunning(what: string): FleetError {
  return precondition("InstanceNotRunning", `The guest does not run: it cannot be ${what}.`);
}

function standsStill(state: number): boolean {
  return DOMAIN_STATES[state] === "PAUSED" || DOMAIN_STATES[state] === "PMSUSPENDED";
}
