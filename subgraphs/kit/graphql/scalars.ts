import { GraphQLError, GraphQLScalarType, Kind } from "graphql";

/** Times need a zone: without one, two readers may understand two moments. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i;

function toInt64(value: unknown): number {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number)) throw new GraphQLError(`Int64 cannot represent ${describe(value)}.`);
  return number;
}

function fromInt64(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value))
    throw new GraphQLError(`Int64 is a whole JSON number, not ${describe(value)}.`);
  if (!Number.isSafeInteger(value)) throw new GraphQLError(`Int64 input is exact up to ±(2^53 − 1); ${value} is beyond that.`);
  return value;
}

function toDateTime(value: unknown): string {
  const date = typeof value === "string" || typeof value === "number" ? new Date(value) : value;
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) throw new GraphQLError(`DateTime cannot represent ${describe(value)}.`);
  return date.toISOString();
}

function fromDateTime(value: unknown): Date {
  const date = typeof value === "string" && RFC_3339.test(value) ? new Date(value) : undefined;
  if (!date || Number.isNaN(date.getTime())) {
    throw new GraphQLError(`DateTime is a time with its zone, such as "2026-01-31T09:30:00Z", not ${describe(value)}.`);
  }
  return date;
}

/** What a caller sent, short enough for a message. */
function describe(value: unknown): string {
  const text = typeof value === "bigint" ? `${value}` : (JSON.stringify(value) ?? typeof value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** A whole number of up to 64 bits, always a JSON number: counters above 2^53 are rounded on the way out, refused on the way in. */
export const Int64 = new GraphQLScalarType<number, number>({
  name: "Int64",
  description: "A whole number of up to 64 bits, always a JSON number. Counters above 2^53 are rounded.",
  serialize: toInt64,
  parseValue: fromInt64,
  parseLiteral(node) {
    if (node.kind !== Kind.INT) throw new GraphQLError("Int64 is a whole number.", { nodes: node });
    return fromInt64(Number(node.value));
  },
});

/** A moment, as ISO 8601 in UTC with milliseconds. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: "DateTime",
  description: 'A moment in RFC 3339, such as "2026-01-31T09:30:00.000Z". Answers are in UTC with milliseconds; input needs a zone.',
  serialize: toDateTime,
  parseValue: fromDateTime,
  parseLiteral(node) {
    if (node.kind !== Kind.STRING) throw new GraphQLError("DateTime is a string.", { nodes: node });
    return fromDateTime(node.value);
  },
});
