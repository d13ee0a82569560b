import { describe, expect, test } from "vitest";
import {
  type Codec,
  charArray,
  double,
  enumeration,
  flags,
  hyper,
  int,
  list,
  opaque,
  optionalString,
  string,
  struct,
  uhyper,
  uint,
  uuid,
} from "../../../../agent/libvirt/protocol/codec.ts";
import { LIMITS } from "../../../../agent/libvirt/protocol/limits.ts";
import { domain } from "../../../../agent/libvirt/protocol/structures.ts";
import { typedParameters } from "../../../../agent/libvirt/protocol/typed-parameters.ts";
import { MalformedMessage, UnencodableValue, XdrReader, XdrWriter } from "../../../../agent/libvirt/protocol/xdr.ts";

function encode<In>(codec: Codec<unknown, In>, value: In): Buffer {
  const writer = new XdrWriter();
  codec.write(writer, value);
  return writer.bytes;
}

function decode<Out>(codec: Codec<Out, never>, bytes: Buffer): Out {
  const reader = new XdrReader(bytes);
  const value = codec.read(reader);
  reader.end();
  return value;
}

describe("XDR", () => {
  test.each([
    ["int", int, -2, "fffffffe"],
    ["uint", uint, 4_294_967_295, "ffffffff"],
    ["hyper", hyper, -1, "ffffffffffffffff"],
    ["hyper", hyper, -4_294_967_297, "fffffffeffffffff"],
    ["uhyper", uhyper, Number.MAX_SAFE_INTEGER, "001fffffffffffff"],
    ["double", double, -1.5, "bff8000000000000"],
    ["string", string, "räk", "0000000472c3a46b"],
    ["string", string, "a", "0000000161000000"],
    ["string", string, "", "00000000"],
    ["opaque", opaque(8), new Uint8Array([1, 2, 3, 4, 5]), "000000050102030405000000"],
    ["a string that is there", optionalString, "a", "000000010000000161000000"],
    ["a string that is not there", optionalString, null, "00000000"],
    ["uuid", uuid, "6695eb01-f6a4-8304-79aa-97f2502e193f", "6695eb01f6a4830479aa97f2502e193f"],
    ["list", list(int), [1, 2], "000000020000000100000002"],
    ["enumeration", enumeration(["A", "B"]), "B", "00000001"],
    ["text of C", charArray(3), "hi", "000000680000006900000000"],
  ] as [string, Codec<unknown, unknown>, unknown, string][])("carries %s both ways", (_name, codec, value, hex) => {
    expect(encode(codec, value).toString("hex")).toBe(hex);
    expect(decode(codec as Codec<unknown, never>, Buffer.from(hex, "hex"))).toEqual(value);
  });

  test.each([
    ["int", int, -7],
    ["uint", uint, 7],
    ["hyper", hyper, -7],
    ["uhyper", uhyper, 7],
    ["double", double, 0.25],
    ["string", string, "libvirt"],
    ["opaque", opaque(8), new Uint8Array([1, 2, 3])],
    ["uuid", uuid, "6695eb01-f6a4-8304-79aa-97f2502e193f"],
  ] as [string, Codec<unknown, unknown>, unknown][])("carries a message of %s that outgrows its first buffer", (_name, codec, value) => {
    const many = list(codec);
    const bytes = encode(many, new Array(1000).fill(value));
    expect(bytes.length).toBeGreaterThan(4000);
    expect(decode(many as Codec<unknown[], never>, bytes)).toEqual(new Array(1000).fill(value));
  });

  test("a structure's fields come in their order, and what has a default may be left out", () => {
    const call = struct({ dom: domain, name: optionalString, flags });
    const bytes = encode(call, { dom: { name: "a", uuid: "6695EB01F6A4830479AA97F2502E193F" } });
    expect(decode(call, bytes)).toEqual({
      dom: { name: "a", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: -1 },
      name: null,
      flags: 0,
    });
  });

  test("parameters keep their type and come by name, of which none is special", () => {
    const parameters = typedParameters(16);
    const bytes = encode(parameters, [
      { name: "i", type: "int", value: -1 },
      { name: "ui", type: "uint", value: 1 },
      { name: "l", type: "llong", value: -5n },
      { name: "ul", type: "ullong", value: 18_446_744_073_709_551_615n },
      { name: "d", type: "double", value: 0.5 },
      { name: "b", type: "boolean", value: true },
      { name: "__proto__", type: "string", value: "x" },
    ]);
    const read = decode(parameters, bytes);
    expect(Object.entries(read)).toEqual([
      ["i", -1],
      ["ui", 1],
      ["l", -5],
      ["ul", 2 ** 64],
      ["d", 0.5],
      ["b", true],
      ["__proto__", "x"],
    ]);
  });

  test("a number that the table does not know is UNKNOWN", () => {
    expect(decode(enumeration(["A"]), Buffer.from("00000007", "hex"))).toBe("UNKNOWN");
    expect(decode(enumeration(["A"]), Buffer.from("ffffffff", "hex"))).toBe("UNKNOWN");
  });
});

describe("what the daemon says is refused, without memory being taken for it, when", () => {
  const huge = (count: number, rest = "00000001") => Buffer.from(count.toString(16).padStart(8, "0") + rest, "hex");
  test.each([
    ["a string is longer than the protocol allows", string, huge(LIMITS.stringBytes + 1)],
    ["a string is longer than the message", string, huge(1000)],
    ["a string has no room for its padding", string, Buffer.from("00000005" + "6161616161", "hex")],
    ["bytes are longer than the protocol allows", opaque(100), huge(101)],
    ["a list is longer than the protocol allows", list(int, 10), huge(11, "00".repeat(44))],
    ["a list is longer than the message", list(struct({}), LIMITS.list), huge(LIMITS.list, "")],
    ["something is neither there nor not there", optionalString, huge(2)],
    ["a parameter has a type that does not exist", typedParameters(4), Buffer.from("00000001" + "0000000161000000" + "00000008", "hex")],
    ["a message is too short", hyper, Buffer.alloc(7)],
    ["a message is too long", int, Buffer.alloc(8)],
  ] as [string, Codec<unknown, never>, Buffer][])("%s", (_name, codec, bytes) => {
    expect(() => decode(codec, bytes)).toThrow(MalformedMessage);
  });
});

describe("what cannot be sent is refused:", () => {
  test.each([
    ["a text with NUL", string, "a\0b"],
    ["a text that is too long", string, "a".repeat(LIMITS.stringBytes + 1)],
    ["a fraction", int, 1.5],
    ["no number", int, Number.NaN],
    ["a number beyond 32 bits", uint, 2 ** 32],
    ["a negative size", uhyper, -1],
    ["a number that is not exact", uhyper, 2 ** 60],
    ["a number beyond 64 bits", uhyper, 2n ** 64n],
    ["something else than a UUID", uuid, "test"],
    ["a list that is too long", list(int, 1), [1, 2]],
    ["a name that an enumeration does not have", enumeration(["A"]), "UNKNOWN"],
  ] as [string, Codec<unknown, unknown>, unknown][])("%s", (_name, codec, value) => {
    expect(() => encode(codec, value)).toThrow(UnencodableValue);
  });
});
