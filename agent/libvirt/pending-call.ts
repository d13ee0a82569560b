import { FleetError } from "../../platform/errors/fleet-error.ts";
import { LibvirtError } from "./errors.ts";
import { type Frame, STATUS } from "./protocol/frame.ts";
import type { Procedure } from "./protocol/procedure.ts";
import { remoteError } from "./protocol/structures.ts";
import { XdrReader } from "./protocol/xdr.ts";
import { timer } from "./wait.ts";

export interface CallOptions {
  signal?: AbortSignal;
  /** Infinity for none. */
  timeoutMs?: number;
}

/** The connection was lost before the call was sent: it can be made again on the next one. */
export class CallNotSent extends Error {
  override readonly name = "CallNotSent";
}

/** One call, from when it is made until the daemon has answered, which may be after the caller has given up. */
export class PendingCall {
  readonly name: string;
  readonly procedure: Procedure<unknown, unknown>;
  readonly answer: Promise<unknown>;
  /** Null until it is sent. */
  serial: number | null = null;
  readonly #settle: PromiseWithResolvers<unknown>;
  readonly #signal: AbortSignal | undefined;
  readonly #onGivenUp: () => void;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#giveUp(FleetError.from(this.#signal?.reason));

  /** `onGivenUp` is called when the deadline passes or the caller aborts, before the answer is there. */
  constructor(
    name: string,
    procedure: Procedure<unknown, unknown>,
    options: Required<Pick<CallOptions, "timeoutMs">> & CallOptions,
    onGivenUp: () => void,
  ) {
    this.name = name;
    this.procedure = procedure;
    this.#settle = Promise.withResolvers();
    this.answer = this.#settle.promise;
    this.#signal = options.signal;
    this.#onGivenUp = onGivenUp;
    const { timeoutMs } = options;
    this.#timer = timer(timeoutMs, () => this.#giveUp(this.#late()));
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Throws MalformedMessage for a reply that is not what the procedure answers; the call is not settled then. */
  answered(reply: Frame): void {
    const reader = new XdrReader(reply.body);
    if (reply.status === STATUS.ERROR) {
      const error = new LibvirtError(remoteError.read(reader), this.name);
      reader.end();
      this.fail(error);
      return;
    }
    const result = this.procedure.result.read(reader);
    reader.end();
    this.#cleanUp();
    this.#settle.resolve(result);
  }

  fail(error: Error): void {
    this.#cleanUp();
    this.#settle.reject(error);
  }

  /** The connection is gone. */
  lost(reason: Error): void {
    if (this.serial === null) {
      this.fail(new CallNotSent(reason.message, { cause: reason }));
      return;
    }
    this.fail(
      new FleetError("UNAVAILABLE", `The connection to libvirt was lost during ${this.name}; whether it took effect is not known.`, {
        reason: "LibvirtConnectionLost",
        details: { procedure: this.name },
        cause: reason,
      }),
    );
  }

  #giveUp(error: FleetError): void {
    this.fail(error);
    this.#onGivenUp();
  }

  #late(): FleetError {
    const outcome = this.serial === null ? "it was not sent" : "whether it takes effect is not known";
    return new FleetError("DEADLINE_EXCEEDED", `libvirt did not answer ${this.name} in time; ${outcome}.`, {
      reason: "LibvirtDeadline",
      details: { procedure: this.name },
    });
  }

  #cleanUp(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
