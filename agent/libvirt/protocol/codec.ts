import { LIMITS } from "./limits.ts";
import { UnencodableValue, type XdrReader, type XdrWriter } from "./xdr.ts";

/**
 * How one kind of value is read and written. `Out` is what reading gives; `In` what may be written, where fields that have a default may
 * be left out. The table of procedures is made of codecs, and its TypeScript types are inferred from them.
 */
export interface Codec<Out, In = Out> {
  read(reader: XdrReader): Out;
  write(writer: XdrWriter, value: In): void;
}

// biome-ignore lint/suspicious/noExplicitAny: stands for a codec of any kind in a constraint; nothing is read through it.
export type AnyCodec = Codec<any, any>;
export type Fields = Readonly<Record<string, AnyCodec>>;

export type OutputOf<C> = C extends Codec<infer Out, infer _In> ? Out : never;
export type InputOf<C> = C extends Codec<infer _Out, infer In> ? In : never;

type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends InputOf<F[K]> ? K : never }[keyof F];
export type StructOutput<F extends Fields> = { -readonly [K in keyof F]: OutputOf<F[K]> };
export type StructInput<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: InputOf<F[K]> } & {
  [K in OptionalKeys<F>]?: InputOf<F[K]>;
};

/** Also what C calls char and short: XDR gives each of them four bytes. */
export const int: Codec<number> = { read: (reader) => reader.int(), write: (writer, value) => writer.int(value) };
export const uint: Codec<number> = { read: (reader) => reader.uint(), write: (writer, value) => writer.uint(value) };
/** 64 bits. Read as a number, which is rounded above 2^53: counters and sizes in bytes lose nothing that matters there. */
export const hyper: Codec<number, number | bigint> = { read: (reader) => reader.hyper(), write: (writer, value) => writer.hyper(value) };
export const uhyper: Codec<number, number | bigint> = { read: (reader) => reader.uhyper(), write: (writer, value) => writer.uhyper(value) };
export const double: Codec<number> = { read: (reader) => reader.double(), write: (writer, value) => writer.double(value) };
export const string: Codec<string> = { read: (reader) => reader.string(), write: (writer, value) => writer.string(value) };

/** A boolean that libvirt carries as an int: whatever is not 0 is true. */
export const flag: Codec<boolean> = { read: (reader) => reader.int() !== 0, write: (writer, value) => writer.int(value ? 1 : 0) };

/** Bits of options; none unless given. */
export const flags: Codec<number, number | undefined> = withDefault(uint, 0);

/** Whether a list is wanted, or only how long it is; the list unless told otherwise. */
export const needResults: Codec<boolean, boolean | undefined> = withDefault(flag, true);

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** In its usual text form, lower case. */
export const uuid: Codec<string> = {
  read(reader) {
    const hex = reader.fixedHex(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
  write(writer, value) {
    if (!UUID.test(value)) throw new UnencodableValue(`${JSON.stringify(value)} is no UUID.`);
    writer.fixedHex(value.replaceAll("-", ""));
  },
};

/** Null where the daemon sends none; may be left out. */
export function optional<Out, In>(codec: Codec<Out, In>): Codec<Out | null, In | null | undefined> {
  return {
    read: (reader) => (reader.boolean() ? codec.read(reader) : null),
    write(writer, value) {
      writer.boolean(value !== null && value !== undefined);
      if (value !== null && value !== undefined) codec.write(writer, value);
    },
  };
}

export const optionalString = optional(string);

export function withDefault<Out, In>(codec: Codec<Out, In>, value: In): Codec<Out, In | undefined> {
  return { read: (reader) => codec.read(reader), write: (writer, given) => codec.write(writer, given ?? value) };
}

export function list<Out, In>(codec: Codec<Out, In>, max: number = LIMITS.list): Codec<Out[], readonly In[]> {
  return {
    read(reader) {
      const count = reader.count(max);
      const values: Out[] = [];
      for (let index = 0; index < count; index++) values.push(codec.read(reader));
      return values;
    },
    write(writer, values) {
      writer.count(values.length, max);
      for (const value of values) codec.write(writer, value);
    },
  };
}

/** A fixed-size text of C, each character in four bytes, up to the first NUL. */
export function charArray(length: number): Codec<string> {
  return {
    read(reader) {
      const characters = Array.from({ length }, () => reader.int() & 0xff);
      const end = characters.indexOf(0);
      return Buffer.from(end < 0 ? characters : characters.slice(0, end)).toString("utf8");
    },
    write(writer, value) {
      const bytes = Buffer.from(value, "utf8");
      if (bytes.length >= length) throw new UnencodableValue(`${JSON.stringify(value)} is longer than ${length - 1} bytes.`);
      for (let index = 0; index < length; index++) writer.int(bytes[index] ?? 0);
    },
  };
}

export function opaque(maxBytes: number): Codec<Uint8Array> {
  return { read: (reader) => reader.opaque(maxBytes), write: (writer, value) => writer.opaque(value, maxBytes) };
}

/** Fields in the order in which they are on the wire. */
export function struct<F extends Fields>(fields: F): Codec<StructOutput<F>, StructInput<F>> {
  const entries = Object.entries(fields);
  return {
    read(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) value[name] = codec.read(reader);
      return value as StructOutput<F>;
    },
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, (value as Record<string, unknown>)[name]);
    },
  };
}

/** A number that stands for one of `names`, by its position; whatever is beyond them is "UNKNOWN". */
export function enumeration<const Name extends string>(names: readonly Name[]): Codec<Name | "UNKNOWN"> {
  return {
    read: (reader) => names[reader.int()] ?? "UNKNOWN",
    write(writer, value) {
      const index = (names as readonly string[]).indexOf(value);
      if (index < 0) throw new UnencodableValue(`${value} is none of ${names.join(", ")}.`);
      writer.int(index);
    },
  };
}
