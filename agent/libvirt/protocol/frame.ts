import { LIMITS } from "./limits.ts";
import { PROGRAMS, type Program } from "./procedure.ts";
import { MalformedMessage, XdrWriter } from "./xdr.ts";

export const MESSAGE = { CALL: 0, REPLY: 1, EVENT: 2, STREAM: 3, STREAM_HOLE: 6 } as const;
export const STATUS = { OK: 0, ERROR: 1, CONTINUE: 2 } as const;

/** One message of libvirt's RPC protocol. */
export interface Frame {
  readonly program: Program;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
  /** Shares memory with what was received. */
  readonly body: Buffer;
}

const VERSION = 1;
const PROGRAM_NAMES = new Map<number, Program>(Object.entries(PROGRAMS).map(([name, number]) => [number, name as Program]));
const KNOWN_TYPES = new Set<number>([MESSAGE.REPLY, MESSAGE.EVENT, MESSAGE.STREAM, MESSAGE.STREAM_HOLE]);
const FIRST_ASSEMBLY_BYTES = 65_536;

/**
 * Cuts what comes from a socket into messages. Holds no more than what has really come of one message, whatever length it says of itself.
 * Throws MalformedMessage for what is none of libvirt's; the parser is of no use then.
 */
export class FrameParser {
  readonly #onFrame: (frame: Frame) => void;
  /** The beginning of a message that came in several pieces; grows by doubling, so that each byte is copied a few times at most. */
  #assembly: Buffer | null = null;
  #filled = 0;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** Bytes that are held of a message that is not complete. */
  get buffered(): number {
    return this.#filled;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#assembly === null ? this.#cut(chunk, at) : this.#assemble(this.#assembly, chunk, at);
    }
  }

  /** Takes a message that is complete within the chunk; keeps one that is not. Says how many bytes were used. */
  #cut(chunk: Buffer, at: number): number {
    const available = chunk.length - at;
    const length = available >= 4 ? frameLength(chunk, at) : Number.POSITIVE_INFINITY;
    if (available >= length) {
      this.#onFrame(decodeFrame(chunk.subarray(at, at + length)));
      return length;
    }
    this.#assembly = Buffer.allocUnsafe(Math.max(available, Math.min(length, FIRST_ASSEMBLY_BYTES)));
    this.#filled = chunk.copy(this.#assembly, 0, at);
    return available;
  }

  #assemble(assembly: Buffer, chunk: Buffer, at: number): number {
    const wanted = this.#filled < 4 ? 4 : frameLength(assembly, 0);
    const used = Math.min(wanted - this.#filled, chunk.length - at);
    const target = this.#withRoom(assembly, this.#filled + used, wanted);
    chunk.copy(target, this.#filled, at, at + used);
    this.#filled += used;
    if (this.#filled >= 4 && this.#filled === frameLength(target, 0)) {
      this.#assembly = null;
      this.#filled = 0;
      this.#onFrame(decodeFrame(target.subarray(0, wanted)));
    }
    return used;
  }

  #withRoom(assembly: Buffer, needed: number, wanted: number): Buffer {
    if (needed <= assembly.length) return assembly;
    const larger = Buffer.allocUnsafe(Math.min(wanted, Math.max(needed, assembly.length * 2)));
    assembly.copy(larger, 0, 0, this.#filled);
    this.#assembly = larger;
    return larger;
  }
}

function frameLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at);
  if (length < LIMITS.frameHeaderBytes || length > LIMITS.frameBytes) {
    throw new MalformedMessage(`A message of ${length} bytes; libvirt's have ${LIMITS.frameHeaderBytes} to ${LIMITS.frameBytes}.`);
  }
  return length;
}

function decodeFrame(bytes: Buffer): Frame {
  const number = bytes.readUInt32BE(4);
  const program = PROGRAM_NAMES.get(number);
  if (program === undefined) throw new MalformedMessage(`A message of the program 0x${number.toString(16)}, which is none of libvirt's.`);
  const version = bytes.readUInt32BE(8);
  if (version !== VERSION) throw new MalformedMessage(`A message of version ${version} of libvirt's protocol instead of ${VERSION}.`);
  const type = bytes.readUInt32BE(16);
  if (!KNOWN_TYPES.has(type)) throw new MalformedMessage(`A message of the type ${type}, which no daemon sends.`);
  const status = bytes.readUInt32BE(24);
  if (status > STATUS.CONTINUE) throw new MalformedMessage(`A message with the status ${status}, which does not exist.`);
  return {
    program,
    procedure: bytes.readInt32BE(12),
    type,
    serial: bytes.readUInt32BE(20),
    status,
    body: bytes.subarray(LIMITS.frameHeaderBytes),
  };
}

export type FrameHeader = Omit<Frame, "body">;

/** A whole message. `writeBody` may throw UnencodableValue; nothing was sent then. */
export function encodeFrame(header: FrameHeader, writeBody?: (writer: XdrWriter) => void): Buffer {
  const writer = new XdrWriter();
  writer.uint(0);
  writer.uint(PROGRAMS[header.program]);
  writer.uint(VERSION);
  writer.int(header.procedure);
  writer.uint(header.type);
  writer.uint(header.serial);
  writer.uint(header.status);
  writeBody?.(writer);
  const { bytes } = writer;
  writer.patchUint(0, bytes.length);
  return bytes;
}
