import { type Codec, double, flag, hyper, int, list, string, uhyper, uint } from "./codec.ts";
import { MalformedMessage, type XdrReader, type XdrWriter } from "./xdr.ts";

/** 64-bit integers are numbers, rounded above 2^53. */
export type TypedParameterValue = number | boolean | string;

/** What the daemon sent, by name. An object without a prototype, so that no name means anything else. */
export type TypedParameters = Readonly<Record<string, TypedParameterValue | undefined>>;

/** The daemon refuses a parameter of another type than its own, so the type is said with the value. */
export type TypedParameterInput =
  | { name: string; type: "int" | "uint" | "double"; value: number }
  | { name: string; type: "llong" | "ullong"; value: number | bigint }
  | { name: string; type: "boolean"; value: boolean }
  | { name: string; type: "string"; value: string };

/** By libvirt's number for the type, less one. */
const TYPES = ["int", "uint", "llong", "ullong", "double", "boolean", "string"] as const;
const VALUES: Record<(typeof TYPES)[number], Codec<TypedParameterValue, never>> = {
  int,
  uint,
  llong: hyper,
  ullong: uhyper,
  double,
  boolean: flag,
  string,
};

interface TypedParameter {
  name: string;
  value: TypedParameterValue;
}

const typedParameter: Codec<TypedParameter, TypedParameterInput> = {
  read(reader: XdrReader) {
    const name = reader.string();
    const number = reader.int();
    const type = TYPES[number - 1];
    if (type === undefined) throw new MalformedMessage(`A parameter has the type ${number}, which does not exist.`);
    return { name, value: VALUES[type].read(reader) };
  },
  write(writer: XdrWriter, { name, type, value }: TypedParameterInput) {
    writer.string(name);
    writer.int(TYPES.indexOf(type) + 1);
    VALUES[type].write(writer, value as never);
  },
};

/** A list with names. Of a name that comes twice, the last counts; what is sent may hold a name several times. */
export function typedParameters(max: number): Codec<TypedParameters, readonly TypedParameterInput[]> {
  const parameters = list(typedParameter, max);
  return {
    read(reader) {
      const byName: Record<string, TypedParameterValue> = Object.create(null);
      for (const { name, value } of parameters.read(reader)) byName[name] = value;
      return byName;
    },
    write: (writer, values) => parameters.write(writer, values),
  };
}
