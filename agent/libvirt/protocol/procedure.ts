import { type Codec, type Fields, type StructInput, type StructOutput, struct } from "./codec.ts";

/** The numbers of libvirt's programs; each is at version 1. */
export const PROGRAMS = { remote: 0x2000_8086, qemu: 0x2000_8087, keepalive: 0x6b65_6570 } as const;
export type Program = keyof typeof PROGRAMS;

/**
 * "high" is for what the daemon answers without asking a hypervisor: it keeps workers apart for those, and so does the client with its
 * places for calls under way.
 */
export type Priority = "high" | "low";

/** What happens to a stream whose reader is too slow. "pause" stops reading its connection; "end" ends the stream, and the guest goes on. */
export type Overflow = "pause" | "end";

export interface Procedure<Arguments, Result> {
  readonly program: Program;
  readonly number: number;
  readonly priority: Priority;
  readonly args: Codec<unknown, Arguments>;
  readonly result: Codec<Result, unknown>;
  /** It is made on a connection of its own, so that its taking long keeps nothing else from being answered. */
  readonly long: boolean;
  /** Null for one that has no stream. */
  readonly stream: Overflow | null;
}

/** A procedure with a stream: the answer to the call is followed by the stream's data. */
export interface StreamProcedure<Arguments, Result> extends Procedure<Arguments, Result> {
  readonly stream: Overflow;
}

type Of<A extends Fields, R extends Fields> = Procedure<StructInput<A>, StructOutput<R>> & { readonly stream: null };

/** One that may ask the hypervisor. Fields in the order of the wire; without `result` the answer is empty. */
export function low<A extends Fields, R extends Fields = Record<never, never>>(number: number, args: A, result?: R): Of<A, R> {
  return entry("remote", "low", number, args, result);
}

/** One that may take long: it starts, stops, saves or copies, or waits for somebody in the guest. */
export function long<A extends Fields, R extends Fields = Record<never, never>>(number: number, args: A, result?: R): Of<A, R> {
  return { ...low(number, args, result), long: true };
}

/** One that the daemon answers from what it knows. */
export function high<A extends Fields, R extends Fields = Record<never, never>>(number: number, args: A, result?: R): Of<A, R> {
  return entry("remote", "high", number, args, result);
}

/** One of the QEMU driver's own, which all wait for somebody. */
export function qemu<A extends Fields, R extends Fields = Record<never, never>>(number: number, args: A, result?: R): Of<A, R> {
  return { ...entry("qemu", "low", number, args, result), long: true };
}

export function streaming<A extends Fields, R extends Fields = Record<never, never>>(
  number: number,
  overflow: Overflow,
  args: A,
  result?: R,
): StreamProcedure<StructInput<A>, StructOutput<R>> {
  return { ...entry("remote", "low", number, args, result), stream: overflow };
}

function entry<A extends Fields, R extends Fields>(program: Program, priority: Priority, number: number, args: A, result?: R): Of<A, R> {
  return { program, number, priority, args: struct(args), result: struct(result ?? ({} as R)), long: false, stream: null };
}
