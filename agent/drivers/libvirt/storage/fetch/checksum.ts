import { invalid } from "../../../shared/refusals.ts";

export interface Checksum {
  algorithm: "sha256" | "sha512";
  hex: string;
}

/** Of a file as it is served. */
export interface Digests {
  sha256: string;
  sha512: string;
}

const HEX_DIGITS = { sha256: 64, sha512: 128 } as const;

/** "sha256:<hex>" or "sha512:<hex>"; null for "". INVALID_ARGUMENT ChecksumInvalid. */
export function parseChecksum(text: string): Checksum | null {
  if (text === "") return null;
  const match = /^(sha256|sha512):([0-9a-f]+)$/i.exec(text);
  const algorithm = match?.[1]?.toLowerCase() as Checksum["algorithm"] | undefined;
  const hex = match?.[2]?.toLowerCase();
  if (algorithm === undefined || hex?.length !== HEX_DIGITS[algorithm]) {
    throw invalid(
      "ChecksumInvalid",
      "source.checksum",
      `${JSON.stringify(text.slice(0, 160))} is no checksum: write sha256: and 64, or sha512: and 128 hexadecimal digits.`,
    );
  }
  return { algorithm, hex };
}
