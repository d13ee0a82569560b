/** Text of a console, and which of its bytes that is. */
export interface ConsoleText {
  /** Of the first byte that the text stands for, and of the byte behind it. */
  offset: number;
  nextOffset: number;
  text: string;
}

const NOTHING = new Uint8Array();

/**
 * A console's bytes as UTF-8. A character that is split over frames comes whole, with the later one: the offset behind a text is always
 * that of a character. Bytes that are no UTF-8 become U+FFFD, as browsers do it; so does the rest of a character that lost a part.
 */
export class ConsoleTextDecoder {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The begin of a character whose other bytes have not come yet. */
  #held: Uint8Array = NOTHING;
  #end = 0;

  /** `last`: nothing comes behind these bytes, so that nothing is held back. */
  decode(offset: number, data: Uint8Array, last: boolean): ConsoleText {
    const held = offset === this.#end ? this.#held : NOTHING;
    const bytes = held.length === 0 ? data : Buffer.concat([held, data]);
    const start = offset - held.length;
    const whole = bytes.length - (last ? 0 : unfinished(bytes));
    // A copy: the frame is not kept for the sake of three bytes.
    this.#held = Uint8Array.from(bytes.subarray(whole));
    this.#end = offset + data.length;
    return { offset: start, nextOffset: start + whole, text: this.#decoder.decode(bytes.subarray(0, whole)) };
  }
}

/** How many bytes at the end begin a character that needs more: 0–3. */
function unfinished(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count += 1) {
    const byte = bytes[bytes.length - count] as number;
    if (isContinuation(byte)) continue;
    return lengthByLead(byte) > count ? count : 0;
  }
  return 0;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** Of the character that a byte begins; 1 where it can begin none of several bytes. */
function lengthByLead(byte: number): number {
  if (byte < 0xc2 || byte > 0xf4) return 1;
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}
