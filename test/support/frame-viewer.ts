import { ConsoleEnd, type ConsoleFrame, type ConsoleSession } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { until } from "./until.ts";

/** Reads a console's frames, as fast as they come or one at a time. */
export class FrameViewer {
  readonly frames: ConsoleFrame[] = [];
  readonly #reading: AsyncIterator<ConsoleFrame>;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  #onFrame: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #error: unknown = null;
  #isPaused = false;

  constructor(frames: AsyncIterable<ConsoleFrame>) {
    this.#reading = frames[Symbol.asyncIterator]();
  }

  /** All that came, in order. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  get length(): number {
    return this.#length;
  }

  /** What was told last. */
  get session(): ConsoleSession | undefined {
    return this.frames.findLast(({ session }) => session !== undefined)?.session;
  }

  get ended(): ConsoleEnd {
    return this.session?.ended ?? ConsoleEnd.UNSPECIFIED;
  }

  /** Null: it is over. */
  async next(): Promise<ConsoleFrame | null> {
    const { value, done } = await this.#reading.next();
    if (done === true) return null;
    this.frames.push(value);
    this.#chunks.push(value.data);
    this.#length += value.data.length;
    this.#onFrame?.();
    return value;
  }

  /** Reads until it is over, or `pause`. */
  read(): this {
    this.#isPaused = false;
    this.#running ??= this.#run();
    return this;
  }

  /** After the frame that is being waited for, none is taken. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Waits until this was put out, after so many bytes; gives all from there on. */
  async seen(text: string, from = 0): Promise<string> {
    this.read();
    await this.#until(() => this.#tail(from).includes(text), JSON.stringify(text));
    return this.#tail(from);
  }

  /** As many bytes in all. */
  async got(bytes: number): Promise<void> {
    this.read();
    await this.#until(() => this.#length >= bytes, `${bytes} bytes`);
  }

  /** Resolves with the frame that brings more than so many bytes, at once when it is there. */
  async longerThan(bytes: number): Promise<void> {
    this.read();
    while (this.#length <= bytes) {
      const came = Promise.withResolvers<void>();
      this.#onFrame = came.resolve;
      await came.promise;
    }
  }

  async over(): Promise<ConsoleFrame> {
    this.read();
    await this.#until(() => this.ended !== ConsoleEnd.UNSPECIFIED, "the console's end");
    return this.frames.at(-1)!;
  }

  async told(holds: (session: ConsoleSession) => boolean, what: string): Promise<void> {
    this.read();
    await this.#until(() => this.session !== undefined && holds(this.session), what);
  }

  async leave(): Promise<void> {
    await this.#reading.return?.();
  }

  #tail(from: number): string {
    return this.bytes.subarray(from).toString();
  }

  async #until(holds: () => boolean, what: string): Promise<void> {
    const check = () => {
      if (this.#error !== null) throw this.#error;
      return holds();
    };
    await until(check, what, 40_000).catch((error: Error) => {
      throw new Error(`${error.message} Seen: ${JSON.stringify(this.text.slice(-500))}`, { cause: error });
    });
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isPaused && (await this.next()) !== null);
    } catch (error) {
      this.#error = error;
    } finally {
      this.#running = null;
    }
  }
}
