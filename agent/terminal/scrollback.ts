const FIRST_BYTES = 16 * 1024;

/** The last bytes of an endless output, each by its offset from the beginning. Memory grows with the output, up to the capacity. */
export class Scrollback {
  readonly capacity: number;
  #ring: Buffer;
  #next = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#ring = Buffer.allocUnsafe(Math.min(FIRST_BYTES, capacity));
  }

  /** The offset of the oldest byte that is kept. */
  get first(): number {
    return this.#next - this.#length;
  }

  /** The offset of the byte that comes next. */
  get next(): number {
    return this.#next;
  }

  append(data: Uint8Array): void {
    const lost = Math.max(0, data.length - this.capacity);
    this.#next += lost;
    const kept = data.subarray(lost);
    if (lost > 0) this.#length = 0;
    this.#grow(this.#length + kept.length);
    const at = this.#next % this.#ring.length;
    const head = kept.subarray(0, this.#ring.length - at);
    this.#ring.set(head, at);
    this.#ring.set(kept.subarray(head.length), 0);
    this.#next += kept.length;
    this.#length = Math.min(this.capacity, this.#length + kept.length);
  }

  /** A copy of at most `max` bytes from an offset on that is kept; empty at the end. */
  read(offset: number, max: number): Buffer {
    return this.#copy(this.#ring, offset, Math.min(max, this.#next - offset));
  }

  #copy(ring: Buffer, offset: number, length: number): Buffer {
    const at = offset % ring.length;
    const end = Math.min(ring.length, at + length);
    const head = ring.subarray(at, end);
    return Buffer.concat([head, ring.subarray(0, length - head.length)], length);
  }

  #grow(wanted: number): void {
    let size = this.#ring.length;
    while (size < wanted && size < this.capacity) size = Math.min(this.capacity, size * 2);
    if (size === this.#ring.length) return;
    const kept = this.#copy(this.#ring, this.first, this.#length);
    this.#ring = Buffer.allocUnsafe(size);
    const at = this.first % size;
    const head = kept.subarray(0, size - at);
    this.#ring.set(head, at);
    this.#ring.set(kept.subarray(head.length), 0);
  }
}
