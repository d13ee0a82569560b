import { z } from "zod";

/** How a value is written, in one phrase that also ends the message about a wrong one, and how it is read. */
export interface Kind<T> {
  /** After "is not …": "a port (0 to 65535)". */
  form: string;
  /** What stands for the value in `--help`: "<port>". */
  placeholder: string;
  /** Reads a string (flag, environment) or a YAML value. */
  type: z.ZodType<T>;
}

/** YAML may give a number where a text is meant (a hostname such as 42). */
const scalarText = z.union([z.string(), z.number().transform(String)]);
const number = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+(\.\d+)?$/)
    .transform(Number),
]);

export function text(placeholder: string): Kind<string> {
  return { form: "a text that is not empty", placeholder, type: scalarText.pipe(z.string().trim().min(1)) };
}

export const path: Kind<string> = { form: "a path", placeholder: "path", type: z.string().min(1) };

/** 0 lets the system choose a free one. */
export const port: Kind<number> = {
  form: "a port (0 to 65535)",
  placeholder: "port",
  type: number.pipe(z.number().int().min(0).max(65_535)),
};

export function integer(min: number, max: number): Kind<number> {
  return { form: `a whole number from ${min} to ${max}`, placeholder: "number", type: number.pipe(z.number().int().min(min).max(max)) };
}

export function decimal(min: number, max: number): Kind<number> {
  return { form: `a number from ${min} to ${max}`, placeholder: "number", type: number.pipe(z.number().min(min).max(max)) };
}

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** In seconds; written as a number of seconds or with a unit. */
export function duration(min: number, max: number): Kind<number> {
  const withUnit = z
    .string()
    .regex(/^\d+(\.\d+)?[smhd]$/)
    .transform((value) => Number.parseFloat(value) * (UNIT_SECONDS[value.at(-1) as string] as number));
  return {
    form: `a duration from ${formatDuration(min)} to ${formatDuration(max)} (such as 30s, 10m, 12h, 7d; a bare number is seconds)`,
    placeholder: "duration",
    type: z.union([number, withUnit]).pipe(z.number().min(min).max(max)),
  };
}

/** Seconds as a duration is written: "7d", "90s". */
export function formatDuration(seconds: number): string {
  for (const unit of ["d", "h", "m"]) {
    const size = UNIT_SECONDS[unit] as number;
    if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${seconds}s`;
}

/** A duration without fractions of a second. */
export function wholeSeconds(min: number, max: number): Kind<number> {
  const any = duration(min, max);
  return { ...any, type: any.type.refine(Number.isInteger) };
}

const UNIT_BYTES: Record<string, number> = { "": 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** In bytes; written as a number of bytes or with a binary unit. */
export const bytes: Kind<number> = {
  form: "a size (such as 512MiB, 2GiB; a bare number is bytes)",
  placeholder: "size",
  type: z.union([
    number.pipe(z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)),
    z
      .string()
      .regex(/^\d+ ?(KiB|MiB|GiB|TiB)$/)
      .transform((value) => Number.parseInt(value, 10) * (UNIT_BYTES[value.replace(/^\d+ ?/, "")] as number)),
  ]),
};

export const boolean: Kind<boolean> = {
  form: "true or false",
  placeholder: "",
  type: z.union([z.boolean(), z.enum(["true", "false"]).transform((value) => value === "true")]),
};

export function oneOf<const V extends string>(values: readonly V[]): Kind<V> {
  return { form: `one of ${values.join(", ")}`, placeholder: values.join("|"), type: z.enum(values) as unknown as z.ZodType<V> };
}

const HOST = /^(?:\[[\da-f:.]+\]|[a-z\d](?:[\w.-]*[a-z\d])?)$/i;

/** An address to listen on: an IP address or a name. */
export const host: Kind<string> = {
  form: "a host name or an IP address",
  placeholder: "host",
  type: z.string().refine((value) => HOST.test(value) || /^[\da-f:]*:[\da-f:.]*$/i.test(value)),
};

const hostPortType = z.string().refine((value) => {
  const match = /^(.+):(\d{1,5})$/.exec(value);
  return match !== null && HOST.test(match[1] as string) && Number(match[2]) >= 1 && Number(match[2]) <= 65_535;
});

export const hostPort: Kind<string> = {
  form: "an address such as 10.0.0.5:50053 or [fd00::5]:50053",
  placeholder: "host:port",
  type: hostPortType,
};

function url(schemes: readonly string[]): z.ZodType<string> {
  return z.string().refine((value) => URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)));
}

export const httpUrl: Kind<string> = {
  form: "a URL that begins with http:// or https://",
  placeholder: "url",
  type: url(["http", "https"]),
};
/** Where images come from. */
export const imageUrl: Kind<string> = {
  form: "a URL that begins with http://, https:// or file:///",
  placeholder: "url",
  type: url(["http", "https", "file"]),
};
/** Several servers of one cluster stand in one text. */
export const natsUrl: Kind<string> = {
  form: "a URL that begins with nats:// or tls:// (or several, commas between)",
  placeholder: "url",
  type: z.string().refine((value) => value.split(",").every((one) => url(["nats", "tls"]).safeParse(one.trim()).success)),
};
export const databaseUrl: Kind<string> = {
  form: "a database URL (sqlite:/path/file.db or postgresql://user:password@host/name)",
  placeholder: "url",
  type: z.union([z.string().regex(/^sqlite:.+/), url(["postgresql", "postgres"])]),
};

const commaSeparated = z.string().transform((value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);

export function listOf(item: Kind<string>): Kind<string[]> {
  return {
    form: `a list (commas between) of which each is ${item.form}`,
    placeholder: `${item.placeholder},…`,
    type: z.union([z.array(z.string()), commaSeparated]).pipe(z.array(item.type as z.ZodType<string, string>)),
  };
}

/** Names and values: a YAML map, or `name=value,name=value`. */
export function mapOf(item: Kind<string>): Kind<Record<string, string>> {
  const pairs = commaSeparated
    .refine((items) => items.every((pair) => pair.indexOf("=") > 0))
    .transform((items) => Object.fromEntries(items.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)])));
  return {
    form: `a map (name=value, commas between) of which each value is ${item.form}`,
    placeholder: `name=${item.placeholder},…`,
    type: z.union([z.record(z.string(), z.string()), pairs]).pipe(z.record(z.string(), item.type as z.ZodType<string, string>)),
  };
}
