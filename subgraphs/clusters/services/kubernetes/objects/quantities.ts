import { toKeyValues } from "../../../../kit/graphql/key-values.ts";

/** Amounts of resources, as a node has them or a container asks for them. Null: nothing was said. */
export interface ResourceAmounts {
  cpuCores: number | null;
  memoryBytes: number | null;
  ephemeralStorageBytes: number | null;
  pods: number | null;
  /** All others as Kubernetes writes them: devices, huge pages. */
  others: Array<{ key: string; value: string }>;
}

const QUANTITY = /^([+-]?)(\d+\.?\d*|\.\d+)(?:([eE])([+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]))?$/;
const BINARY = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL = ["k", "M", "G", "T", "P", "E"];
const FRACTIONS: Record<string, number> = { m: 1e3, u: 1e6, n: 1e9 };

/** A Kubernetes quantity ("500m", "16Gi", "1e3") as a number of its base unit; null where it is none. */
export function parseQuantity(text: unknown): number | null {
  const parts = QUANTITY.exec(String(text));
  if (!parts) return null;
  const [, sign, digits, exponentMark, exponent, suffix] = parts;
  const number = Number(exponentMark ? `${digits}e${exponent}` : digits) * (sign === "-" ? -1 : 1);
  if (!Number.isFinite(number)) return null;
  if (suffix === undefined) return number;
  const fraction = FRACTIONS[suffix];
  if (fraction !== undefined) return number / fraction;
  return BINARY.includes(suffix) ? number * 1024 ** (BINARY.indexOf(suffix) + 1) : number * 1000 ** (DECIMAL.indexOf(suffix) + 1);
}

/** Null where there is no such map. */
export function resourceAmounts(map: Readonly<Record<string, string>> | null | undefined): ResourceAmounts | null {
  if (!map) return null;
  const { cpu, memory, pods, "ephemeral-storage": ephemeralStorage, ...others } = map;
  return {
    cpuCores: parseQuantity(cpu),
    memoryBytes: wholeNumber(memory),
    ephemeralStorageBytes: wholeNumber(ephemeralStorage),
    pods: wholeNumber(pods),
    others: toKeyValues(others),
  };
}

/** Rounded up, as Kubernetes does. */
function wholeNumber(text: string | undefined): number | null {
  const number = parseQuantity(text);
  return number === null ? null : Math.ceil(number);
}
