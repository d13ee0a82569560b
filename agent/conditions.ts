import type { NodeCondition } from "../schema/generated/proto/hypervisor/v1/common.ts";
import { MEMINFO, readMemoryUsage } from "./hardware/memory.ts";
import { type HostChannel, type HostNeeds, HostReadError } from "./host/host-channel.ts";
import { ROUTES, readNetwork } from "./network.ts";
import { isClockSkewed, isDiskShort, isMemoryShort } from "./thresholds.ts";

type Verdict = Omit<NodeCondition, "lastTransitionTime">;

const PRESSURE = "/proc/pressure/memory";
const CONDITION_NEEDS: HostNeeds = { paths: [MEMINFO, PRESSURE, ...ROUTES], commands: [] };

const HOST_UNREACHABLE = "HostUnreachable";

/** What a heartbeat says about the host's health. Remembers its verdicts: for hysteresis, and for the time of the last transition. */
export class HostConditions {
  readonly #host: HostChannel;
  readonly #diskPath: string;
  readonly #unreachable: (() => string | null) | undefined;
  readonly #current = new Map<string, NodeCondition>();
  #clock: Verdict | null = null;
  #stateError: string | null = null;

  /** `diskPath`: a directory of the file system that is watched. `unreachable`: of another machine, why it is not reached now. */
  constructor(host: HostChannel, diskPath: string, unreachable?: () => string | null) {
    this.#host = host;
    this.#diskPath = diskPath;
    this.#unreachable = unreachable;
  }

  /**
   * Ready, DiskPressure, MemoryPressure, NetworkUnavailable; of another machine HostReachable instead of ClockSkew, which is there once it was
   * measured. What cannot be read is Unknown.
   */
  async read(): Promise<NodeCondition[]> {
    const away = this.#unreachable?.() ?? null;
    const verdicts = [this.#ready(away), ...(away === null ? await this.#pressures() : unknown(away))];
    if (this.#unreachable !== undefined) verdicts.push(reachable(away));
    else if (this.#clock !== null) verdicts.push(this.#clock);
    return verdicts.map((verdict) => this.#remember(verdict));
  }

  /**
   * Takes a measurement from a heartbeat's answer. `skewMs`: how far this host's clock is ahead; `uncertaintyMs`: half of the round trip,
   * because it is not known how the time was divided between the two ways.
   */
  observeClock(skewMs: number, uncertaintyMs: number): void {
    const skewed = isClockSkewed(skewMs, uncertaintyMs, this.#is("ClockSkew"));
    const seconds = (Math.abs(skewMs) / 1000).toFixed(1);
    this.#clock = skewed
      ? verdict(
          "ClockSkew",
          "True",
          "ClockOutOfStep",
          `The host's clock is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} the control plane's.`,
        )
      : verdict("ClockSkew", "False", "ClockInStep", "The host's clock agrees with the control plane's.");
  }

  /** Whether the agent could keep its own state; an agent that cannot is not ready. Null: it could. */
  observeState(error: string | null): void {
    this.#stateError = error;
  }

  #pressures(): Promise<Verdict[]> {
    const host = this.#host.snapshot(CONDITION_NEEDS);
    // Each judge waits for it, and says why it cannot.
    host.catch(() => undefined);
    return Promise.all([
      this.#judge("DiskPressure", () => this.#disk()),
      this.#judge("MemoryPressure", async () => this.#memory(await host)),
      this.#judge("NetworkUnavailable", async () => this.#network(await host)),
    ]);
  }

  #ready(away: string | null): Verdict {
    if (away !== null) return verdict("Ready", "False", HOST_UNREACHABLE, `The agent does not reach the host: ${away}`);
    return this.#stateError === null
      ? verdict("Ready", "True", "AgentReady", "The agent is running.")
      : verdict("Ready", "False", "StateNotSaved", `The agent cannot keep its state: ${this.#stateError}`);
  }

  async #disk(): Promise<Verdict> {
    const size = await this.#host.fileSystem(this.#diskPath);
    const short = isDiskShort(size, this.#is("DiskPressure"));
    const message = `${percent(size.availableBytes, size.totalBytes)} of the disk is free.`;
    return verdict("DiskPressure", short ? "True" : "False", short ? "DiskAlmostFull" : "EnoughDisk", message);
  }

  async #memory(host: HostChannel): Promise<Verdict> {
    const { totalBytes, availableBytes } = await readMemoryUsage(host);
    const short = isMemoryShort(totalBytes, availableBytes, await stalledPercent(host), this.#is("MemoryPressure"));
    const message = `${percent(availableBytes, totalBytes)} of the memory is available.`;
    return verdict("MemoryPressure", short ? "True" : "False", short ? "MemoryAlmostFull" : "EnoughMemory", message);
  }

  async #network(host: HostChannel): Promise<Verdict> {
    const network = await readNetwork(host);
    return verdict("NetworkUnavailable", network.available ? "False" : "True", network.reason, network.message);
  }

  async #judge(type: string, judge: () => Promise<Verdict>): Promise<Verdict> {
    try {
      return await judge();
    } catch (error) {
      if (error instanceof HostReadError) return verdict(type, "Unknown", "NotReadable", error.message);
      throw error;
    }
  }

  #is(type: string): boolean {
    return this.#current.get(type)?.status === "True";
  }

  #remember(next: Verdict): NodeCondition {
    const before = this.#current.get(next.type);
    const condition = { ...next, lastTransitionTime: before?.status === next.status ? before.lastTransitionTime : new Date() };
    this.#current.set(next.type, condition);
    return condition;
  }
}

/** "full avg60"; kernels without it just do not count. */
async function stalledPercent(host: HostChannel): Promise<number | null> {
  const text = await host.read(PRESSURE).catch(() => "");
  const match = /^full .*\bavg60=([\d.]+)/m.exec(text);
  return match ? Number(match[1]) : null;
}

function reachable(away: string | null): Verdict {
  return away === null
    ? verdict("HostReachable", "True", "HostReached", "The agent that stands for the host reaches it.")
    : verdict("HostReachable", "False", HOST_UNREACHABLE, away);
}

function unknown(away: string): Verdict[] {
  return ["DiskPressure", "MemoryPressure", "NetworkUnavailable"].map((type) => verdict(type, "Unknown", HOST_UNREACHABLE, away));
}

function verdict(type: string, status: "True" | "False" | "Unknown", reason: string, message: string): Verdict {
  return { type, status, reason, message };
}

function percent(part: number, whole: number): string {
  return `${whole > 0 ? Math.round((100 * part) / whole) : 0} %`;
}
