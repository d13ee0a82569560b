import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { ConsoleFrame } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { frameFromMessage } from "./console-messages.ts";
import type { ConsoleOutputFrame } from "./console-types.ts";
import { interrupted } from "./session-target.ts";

type Result = IteratorResult<ConsoleOutputFrame, undefined>;

const DONE: Result = { done: true, value: undefined };

/** An agent's frames up to the one that tells the session's end. A stream that is over without one was lost: UNAVAILABLE. */
export class ConsoleFollower implements AsyncIterableIterator<ConsoleOutputFrame, undefined> {
  readonly #frames: AsyncIterator<ConsoleFrame>;
  readonly #toError: (error: unknown) => FleetError;
  #ended = false;

  constructor(frames: AsyncIterator<ConsoleFrame>, toError: (error: unknown) => FleetError) {
    this.#frames = frames;
    this.#toError = toError;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Result> {
    if (this.#ended) return DONE;
    const { done, value } = await this.#read();
    if (this.#ended) return DONE;
    if (done === true) {
      this.#ended = true;
      throw interrupted();
    }
    const frame = frameFromMessage(value);
    if (frame.session?.ended) await this.return();
    return { done: false, value: frame };
  }

  /** Ends the stream at once, also while nothing arrives. */
  async return(): Promise<Result> {
    this.#ended = true;
    await this.#frames.return?.();
    return DONE;
  }

  async #read(): Promise<IteratorResult<ConsoleFrame>> {
    try {
      return await this.#frames.next();
    } catch (error) {
      this.#ended = true;
      throw this.#toError(error);
    }
  }
}
