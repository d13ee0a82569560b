import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { PowerState } from "../../schema/generated/proto/hypervisor/v1/power.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { goDown, type PowerAction, type PowerSupport, readPowerSupport } from "./logind.ts";

export interface PowerOrder {
  operationId: string;
  /** The boot that is to end. */
  bootId: string;
  /** For the host's log. */
  reason: string;
}

/** Why a host's power is not to be had: the reason of a FAILED_PRECONDITION, and for people. */
interface Refusal {
  reason: string;
  message: string;
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

const WORDS: Record<string, Refusal> = {
  na: { reason: "NotSupported", message: "The host's logind does not know how." },
  no: { reason: "NoPermission", message: "The host's policy does not let the agent's account do that." },
};
const CHALLENGE: Refusal = {
  reason: "NoPermission",
  message: "The host's policy wants a password: the agent's account needs sudo as the project's sudoers file gives it.",
};

/** The power of one host: what can be done, and doing it, once per operation and boot. */
export class HostPower {
  readonly #host: HostChannel;
  readonly #isAllowed: boolean;
  readonly #log: Logger;
  /** The last one that was taken by this agent, or is being handed over. */
  #order: { operationId: string; bootId: string; taken: Promise<void> } | null = null;

  /** `isAllowed`: by the agent's own configuration. */
  constructor(host: HostChannel, isAllowed: boolean, log: Logger) {
    this.#host = host;
    this.#isAllowed = isAllowed;
    this.#log = log;
  }

  /** Throws UNAVAILABLE (reason HostUnreachable) where the way to the host is gone. */
  async state(): Promise<PowerState> {
    const [bootId, bootedAt, found] = await Promise.all([this.#bootId(), this.#bootedAt(), this.#support()]);
    const refusals = (["REBOOT", "SHUTDOWN"] as const).map((action) => this.#refusal(action, found));
    const [reboot, shutdown] = refusals;
    const refusal = refusals.find((one) => one !== null);
    const order = this.#order?.bootId === bootId ? this.#order : null;
    return {
      bootId,
      bootedAt,
      canReboot: reboot === null,
      canShutDown: shutdown === null,
      reason: refusal?.reason ?? "",
      message: refusal?.message ?? "",
      operationId: order?.operationId ?? "",
    };
  }

  /**
   * Resolves when it is under way. Throws FAILED_PRECONDITION with a reason: AnotherBoot, PowerUnderWay (for another operation), PowerNotAllowed,
   * NoShell, NoPermission, NoLogind, NotSupported, Inhibited, PowerFailed; UNAVAILABLE (HostUnreachable).
   */
  async order(action: PowerAction, order: PowerOrder): Promise<PowerState> {
    const bootId = await this.#bootId();
    if (bootId === "" || bootId !== order.bootId) {
      throw refused({ reason: "AnotherBoot", message: "The host has been started again since." }, { bootId });
    }
    const earlier = this.#order;
    if (earlier !== null && earlier.bootId === bootId) {
      if (earlier.operationId === order.operationId) await earlier.taken;
      else throw refused({ reason: "PowerUnderWay", message: "Another operation has ended this boot already." });
    } else {
      const taken = this.#carryOut(action, order);
      this.#order = { operationId: order.operationId, bootId, taken };
      try {
        await taken;
      } catch (error) {
        // What was refused can be asked for again.
        this.#order = null;
        throw error;
      }
    }
    return { ...NOTHING, bootId, operationId: order.operationId };
  }

  async #carryOut(action: PowerAction, { operationId, reason }: PowerOrder): Promise<void> {
    const found = await this.#support();
    const refusal = this.#refusal(action, found);
    if (refusal !== null) throw refused(refusal);
    // An agent that was restarted meanwhile finds it under way.
    if ("refusals" in found && found.goingDown) return;
    this.#log.warn({ action, operationId, reason }, "the host goes down, as an admin asked");
    try {
      const { exitCode, stderr } = await goDown(this.#host, action);
      if (exitCode !== 0) throw refused(ofOutput(stderr));
    } catch (error) {
      throw asFleetError(error);
    }
  }

  #refusal(action: PowerAction, found: PowerSupport | Refusal): Refusal | null {
    if (!this.#isAllowed) return { reason: "PowerNotAllowed", message: "The agent's own configuration does not allow it (allow.power)." };
    if (!("refusals" in found)) return found;
    const [inhibitor] = found.inhibitors;
    if (inhibitor !== undefined) return { reason: "Inhibited", message: `${inhibitor.who} keeps the host up: ${inhibitor.why}` };
    const word = found.refusals[action];
    if (word === null) return null;
    if (word.includes("inhibit")) return { reason: "Inhibited", message: "Something keeps the host up." };
    return WORDS[word] ?? CHALLENGE;
  }

  async #support(): Promise<PowerSupport | Refusal> {
    try {
      const support = await readPowerSupport(this.#host);
      return support ?? { reason: "NoLogind", message: "The host has neither logind nor systemd: nobody there can be asked to do it." };
    } catch (error) {
      return ofFailure(error);
    }
  }

  /** Empty where the host does not tell. */
  async #bootId(): Promise<string> {
    return (await this.#read(BOOT_ID))?.trim() ?? "";
  }

  async #bootedAt(): Promise<Date | undefined> {
    const seconds = /^btime (\d+)$/m.exec((await this.#read("/proc/stat")) ?? "")?.[1];
    return seconds === undefined ? undefined : new Date(Number(seconds) * 1000);
  }

  async #read(path: string): Promise<string | null> {
    try {
      return await this.#host.read(path);
    } catch (error) {
      ofFailure(error);
      return null;
    }
  }
}

const NOTHING: PowerState = {
  bootId: "",
  bootedAt: undefined,
  canReboot: false,
  canShutDown: false,
  reason: "",
  message: "",
  operationId: "",
};

/** A fact about the host. Throws UNAVAILABLE where the way to it is gone, and what is no HostReadError. */
function ofFailure(error: unknown): Refusal {
  if (!(error instanceof HostReadError) || error.reason === "HOST_UNREACHABLE" || error.reason === "TIMEOUT") throw asFleetError(error);
  const { reason, message } = error;
  if (reason === "NO_SHELL") return { reason: "NoShell", message };
  if (reason === "NO_PERMISSION") return { reason: "NoPermission", message };
  return { reason: "NoLogind", message };
}

function asFleetError(error: unknown): unknown {
  if (!(error instanceof HostReadError)) return error;
  if (error.reason === "HOST_UNREACHABLE" || error.reason === "TIMEOUT") {
    return new FleetError("UNAVAILABLE", "The host does not answer.", { reason: "HostUnreachable", cause: error });
  }
  return refused(ofFailure(error));
}

/** What busctl and systemctl write when they are refused. */
function ofOutput(stderr: string): Refusal {
  const message = stderr.trim().slice(0, 500) || "The host refused.";
  if (/inhibit/i.test(stderr)) return { reason: "Inhibited", message };
  if (/authentication required|access denied|permission denied|not permitted/i.test(stderr)) return { reason: "NoPermission", message };
  return { reason: "PowerFailed", message };
}

function refused({ reason, message }: Refusal, details: Record<string, unknown> = {}): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason, details });
}
