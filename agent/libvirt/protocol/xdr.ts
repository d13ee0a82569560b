import { LIMITS } from "./limits.ts";

/** Bytes from the daemon that are not what the protocol says. The connection they came on is of no use any more. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
}

/** A value that the protocol cannot carry: a string that is too long, a number out of range, an id that is no UUID. */
export class UnencodableValue extends Error {
  override readonly name = "UnencodableValue";
}

/** Reads XDR (RFC 4506) from one message. Each length is compared with its limit and with what is there before anything is allocated. */
export class XdrReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  /** Rounded to the nearest double above 2^53. */
  hyper(): number {
    const at = this.#take(8);
    return this.#bytes.readInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4);
  }

  /** Rounded to the nearest double above 2^53. */
  uhyper(): number {
    const at = this.#take(8);
    return this.#bytes.readUInt32BE(at) * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4);
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  boolean(): boolean {
    const value = this.uint();
    if (value > 1) throw new MalformedMessage(`A flag is ${value} instead of 0 or 1.`);
    return value === 1;
  }

  string(maxBytes: number = LIMITS.stringBytes): string {
    const length = this.#length(maxBytes);
    const at = this.#take(padded(length));
    return this.#bytes.toString("utf8", at, at + length);
  }

  /** A copy: it does not keep the message alive. */
  opaque(maxBytes: number): Uint8Array {
    const length = this.#length(maxBytes);
    const at = this.#take(padded(length));
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  fixedHex(length: number): string {
    const at = this.#take(padded(length));
    return this.#bytes.toString("hex", at, at + length);
  }

  /** How many elements follow. An element takes four bytes at least, so that a count can never be larger than what is there. */
  count(max: number): number {
    const count = this.uint();
    if (count > max) throw new MalformedMessage(`A list of ${count} is longer than the ${max} that the protocol allows.`);
    if (count * 4 > this.remaining) throw new MalformedMessage(`A list says ${count} elements and has ${this.remaining} bytes.`);
    return count;
  }

  /** What is left, as it is. Shares memory with the message. */
  rest(): Buffer {
    return this.#bytes.subarray(this.#take(this.remaining));
  }

  end(): void {
    if (this.remaining > 0) throw new MalformedMessage(`A message is ${this.remaining} bytes longer than what it should hold.`);
  }

  #length(maxBytes: number): number {
    const length = this.uint();
    if (length > maxBytes)
      throw new MalformedMessage(`A field of ${length} bytes is longer than the ${maxBytes} that the protocol allows.`);
    return length;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw new MalformedMessage(`A message ends ${bytes - this.remaining} bytes too early.`);
    this.#at = at + bytes;
    return at;
  }
}

const FIRST_CAPACITY = 512;

/** Writes XDR. Throws UnencodableValue for what the other side would refuse. */
export class XdrWriter {
  #bytes: Buffer = Buffer.allocUnsafe(FIRST_CAPACITY);
  #length = 0;

  /** What was written; valid until the next write. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  int(value: number): void {
    if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff)
      throw new UnencodableValue(`${value} is no 32-bit integer.`);
    const at = this.#grow(4);
    this.#bytes.writeInt32BE(value, at);
  }

  uint(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
      throw new UnencodableValue(`${value} is no unsigned 32-bit integer.`);
    }
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
  }

  hyper(value: number | bigint): void {
    const exact = exactInteger(value);
    if (exact < -(2n ** 63n) || exact >= 2n ** 63n) throw new UnencodableValue(`${value} is no 64-bit integer.`);
    const at = this.#grow(8);
    this.#bytes.writeBigInt64BE(exact, at);
  }

  uhyper(value: number | bigint): void {
    const exact = exactInteger(value);
    if (exact < 0n || exact >= 2n ** 64n) throw new UnencodableValue(`${value} is no unsigned 64-bit integer.`);
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64BE(exact, at);
  }

  double(value: number): void {
    const at = this.#grow(8);
    this.#bytes.writeDoubleBE(value, at);
  }

  boolean(value: boolean): void {
    this.uint(value ? 1 : 0);
  }

  string(value: string, maxBytes: number = LIMITS.stringBytes): void {
    if (value.includes("\0")) throw new UnencodableValue("A text with a NUL character cannot be sent to libvirt.");
    const length = Buffer.byteLength(value, "utf8");
    if (length > maxBytes) throw new UnencodableValue(`A text of ${length} bytes is longer than the ${maxBytes} that libvirt takes.`);
    this.uint(length);
    const at = this.#grow(padded(length));
    this.#bytes.write(value, at, "utf8");
    this.#bytes.fill(0, at + length, this.#length);
  }

  opaque(value: Uint8Array, maxBytes: number): void {
    if (value.length > maxBytes) throw new UnencodableValue(`${value.length} bytes are more than the ${maxBytes} that libvirt takes.`);
    this.uint(value.length);
    const at = this.#grow(padded(value.length));
    this.#bytes.set(value, at);
    this.#bytes.fill(0, at + value.length, this.#length);
  }

  fixedHex(value: string): void {
    const length = value.length / 2;
    const at = this.#grow(padded(length));
    this.#bytes.write(value, at, "hex");
    this.#bytes.fill(0, at + length, this.#length);
  }

  /** As they are, without a length. */
  raw(value: Uint8Array): void {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
  }

  count(length: number, max: number): void {
    if (length > max) throw new UnencodableValue(`A list of ${length} is longer than the ${max} that libvirt takes.`);
    this.uint(length);
  }

  /** Overwrites a word that was written before. */
  patchUint(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value, at);
  }

  /** Where the `bytes` to be written begin. Comes before `#bytes` is looked at: it may replace them. */
  #grow(bytes: number): number {
    const at = this.#length;
    const length = at + bytes;
    if (length > this.#bytes.length) {
      if (length > LIMITS.frameBytes) throw new UnencodableValue(`A message of ${length} bytes is longer than libvirt takes.`);
      const larger = Buffer.allocUnsafe(Math.min(LIMITS.frameBytes, Math.max(length, this.#bytes.length * 2)));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    this.#length = length;
    return at;
  }
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function exactInteger(value: number | bigint): bigint {
  if (typeof value === "bigint") return value;
  if (!Number.isSafeInteger(value)) throw new UnencodableValue(`${value} is no integer that a number holds exactly.`);
  return BigInt(value);
}
