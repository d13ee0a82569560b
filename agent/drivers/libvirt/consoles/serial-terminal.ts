import { pause } from "../../../control-plane/backoff.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { LibvirtStream } from "../../../libvirt/stream.ts";
import type { InstanceTerminal } from "../../console-driver.ts";
import { driverError } from "../driver-errors.ts";
import type { EndWatch } from "./console-ends.ts";

/** From a stream's end until the event that tells why: 2 s were seen after a migration on a busy host. */
const EVENT_MS = 8000;

/** A serial line: it knows no size, and what it carries is not held back. */
export class SerialTerminal implements InstanceTerminal {
  readonly kind = "SERIAL";
  readonly resizable = false;
  readonly takesInput = true;
  readonly mayWait = false;
  readonly run: string;
  readonly #stream: LibvirtStream;
  readonly #watch: EndWatch;
  #migrated = false;
  #over = false;
  #isDisposed = false;

  constructor(stream: LibvirtStream, run: string, watch: EndWatch) {
    this.run = run;
    this.#stream = stream;
    this.#watch = watch;
  }

  get migrated(): boolean {
    return this.#migrated;
  }

  get over(): boolean {
    return this.#over;
  }

  async write(data: Uint8Array): Promise<void> {
    try {
      await this.#stream.write(data);
    } catch (error) {
      this.#over = true;
      throw driverError(error, "type into the console");
    }
  }

  async resize(): Promise<void> {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let failure: LibvirtError | null = null;
    try {
      yield* this.#stream;
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      failure = error;
    } finally {
      this.#over = true;
    }
    if (!this.#isDisposed) this.#migrated = await this.#hasMigrated();
    if (failure !== null && !this.#migrated) throw driverError(failure, "carry the console");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#watch.end();
    await this.#stream[Symbol.asyncDispose]();
  }

  async #hasMigrated(): Promise<boolean> {
    const over = new AbortController();
    const late = pause(EVENT_MS, over.signal).then(() => ({ migrated: false }));
    const { migrated } = await Promise.race([this.#watch.stopped, late]);
    over.abort();
    return migrated;
  }
}
