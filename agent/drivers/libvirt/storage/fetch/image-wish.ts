import { precondition } from "../../../shared/refusals.ts";
import type { ImageFacts, ImageFormat } from "../image-format.ts";
import { imageFacts } from "../image-format.ts";
import type { FetchRecord } from "../image-record.ts";
import type { Checksum, Digests } from "./checksum.ts";

/** What somebody wants of the image of a URL. */
export interface ImageWish {
  checksum: Checksum | null;
  /** Null: whatever it is. */
  format: ImageFormat | null;
}

export const ANY_IMAGE: ImageWish = { checksum: null, format: null };

const SHOWN = "at that URL";

/** What an image is, if it is what one of those who wait for it wants; otherwise what the first of them is refused with. */
export function factsFor(wishes: readonly ImageWish[], head: Buffer, fileBytes: number | null): ImageFacts {
  const formats = [...new Set(wishes.length === 0 ? [null] : wishes.map(({ format }) => format))];
  const tried = formats.map((format) => {
    try {
      return { facts: imageFacts(SHOWN, format, head, fileBytes) };
    } catch (error) {
      return { error };
    }
  });
  const good = tried.find((one) => one.facts !== undefined)?.facts;
  if (good === undefined) throw tried[0]?.error;
  return good;
}

/** Throws what the first of them is refused with, where what came is what none of them wants. */
export function checkDigests(wishes: readonly ImageWish[], digests: Digests): void {
  if (wishes.length === 0 || wishes.some(({ checksum }) => matches(checksum, digests))) return;
  for (const { checksum } of wishes) if (checksum !== null) throw mismatch(checksum, digests);
}

/** Whether it is known that the record's image has the checksum that is wanted, or has not. */
export function isKnown({ checksum }: ImageWish, { served }: FetchRecord): boolean {
  return checksum === null || served?.[checksum.algorithm] !== undefined;
}

/** FAILED_PRECONDITION ImageChecksumMismatch, ImageFormatMismatch. */
export function checkWish({ checksum, format }: ImageWish, record: FetchRecord): void {
  if (checksum !== null && record.served !== null && !matches(checksum, record.served)) throw mismatch(checksum, record.served);
  if (format !== null && format !== record.format) {
    throw precondition("ImageFormatMismatch", `The image ${SHOWN} is declared as ${format}, and is ${record.format}.`, {
      field: "source.format",
      format: record.format,
    });
  }
}

function matches(checksum: Checksum | null, digests: Digests): boolean {
  return checksum === null || digests[checksum.algorithm] === checksum.hex;
}

function mismatch({ algorithm, hex }: Checksum, digests: Digests): Error {
  const message = `The file ${SHOWN} has the ${algorithm} checksum ${digests[algorithm]}, not ${hex}. Was it damaged on its way, or changed at its source?`;
  return precondition("ImageChecksumMismatch", message, { field: "source.checksum", checksum: `${algorithm}:${digests[algorithm]}` });
}
