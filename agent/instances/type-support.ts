import { isDeepStrictEqual } from "node:util";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { jittered, pause } from "../control-plane/backoff.ts";
import type { InstanceDriver, TypeSupport } from "../drivers/instance-driver.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import { within } from "./host-drivers.ts";

const TYPES = [InstanceType.VM, InstanceType.CONTAINER, InstanceType.MICROVM];
/** A probe boots a machine. */
const PROBE_MS = 180_000;
/** How often drivers are asked again: what they need can be installed while the agent runs. */
const ASK_EVERY_MS = 60_000;

const WHAT_TO_INSTALL: ReadonlyMap<InstanceType, string> = new Map([
  [InstanceType.VM, "This agent has no hypervisor: install libvirt with QEMU, and set agent.libvirtUri."],
  [InstanceType.MICROVM, "This agent has no hypervisor: install libvirt with QEMU, and set agent.libvirtUri."],
  [InstanceType.CONTAINER, "This agent has no container engine: install podman or Docker, and set agent.containerSocket."],
]);

/** Which types of instances a host can run, as its drivers found out. */
export class TypeSupports {
  readonly #drivers: readonly InstanceDriver[];
  readonly #signal: AbortSignal;
  readonly #onChange: () => void;
  readonly #told = new Map<InstanceDriver, TypeSupport[]>();
  readonly #asking = new Map<InstanceDriver, Promise<void>>();

  /** `onChange` is called when a driver says something else than before. */
  constructor(drivers: readonly InstanceDriver[], signal: AbortSignal, onChange: () => void) {
    this.#drivers = drivers;
    this.#signal = signal;
    this.#onChange = onChange;
    for (const driver of drivers) {
      const undo = driver.listen({ onChanged: () => undefined, onAvailable: () => void this.#askAgain(driver) });
      signal.addEventListener("abort", undo, { once: true });
    }
  }

  /** One for each type, as told last. */
  get current(): TypeSupport[] {
    return TYPES.map((type) => {
      const able = this.#drivers.filter(({ types }) => types.includes(type));
      const answers = able.flatMap((driver) => this.#told.get(driver) ?? [untold(driver, type)]).filter((answer) => answer.type === type);
      return answers.find(({ supported }) => supported) ?? answers[0] ?? noDriver(type);
    });
  }

  /** Asks the drivers, and waits so long for their answers; what comes later is told by `onChange`. Never throws. */
  async refresh(waitMs: number): Promise<void> {
    const answers = Promise.all(this.#drivers.map((driver) => this.#ask(driver)));
    await waitAtMost(answers, waitMs, this.#signal, () => new Error("late")).catch(() => undefined);
  }

  /** Asks now and then, until the signal aborts. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.refresh(PROBE_MS);
      await pause(jittered(ASK_EVERY_MS, 0.1), this.#signal);
    }
  }

  /** What it said before it came, or went, no longer counts. */
  async #askAgain(driver: InstanceDriver): Promise<void> {
    await this.#asking.get(driver);
    if (!this.#signal.aborted) await this.#ask(driver);
  }

  #ask(driver: InstanceDriver): Promise<void> {
    const asked = this.#asking.get(driver);
    if (asked !== undefined) return asked;
    const asking = within(driver, this.#signal, (limited) => driver.support(limited), PROBE_MS)
      .then(
        (support) => this.#take(driver, support),
        () => undefined,
      )
      .finally(() => this.#asking.delete(driver));
    this.#asking.set(driver, asking);
    return asking;
  }

  #take(driver: InstanceDriver, support: TypeSupport[]): void {
    const before = this.#told.get(driver);
    this.#told.set(driver, support);
    if (!isDeepStrictEqual(before, support)) this.#onChange();
  }
}

function untold({ name }: InstanceDriver, type: InstanceType): TypeSupport {
  return { type, supported: false, reason: "DriverUnreachable", message: `${name} has not answered yet.`, engine: "" };
}

function noDriver(type: InstanceType): TypeSupport {
  return { type, supported: false, reason: "NoDriver", message: WHAT_TO_INSTALL.get(type) ?? "", engine: "" };
}
