import { ConsoleTextDecoder } from "./console-text.ts";
import type { ConsoleEncoding, ConsoleOutputFrame } from "./console-types.ts";

/** A frame whose data is text. */
export interface EncodedFrame extends Omit<ConsoleOutputFrame, "data"> {
  data: string;
  /** Behind data: where to go on. */
  nextOffset: number;
}

type Encode = (frame: ConsoleOutputFrame) => EncodedFrame;

/** Frames in an encoding, those left out that have nothing to tell. `return()` goes straight to the source. */
export function encodeOutput(frames: AsyncIterator<ConsoleOutputFrame>, encoding: ConsoleEncoding): AsyncIterableIterator<EncodedFrame> {
  const encode = encoding === "TEXT" ? asText() : asBase64;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      for (;;) {
        const { done, value } = await frames.next();
        if (done === true) return { done: true, value: undefined };
        const frame = encode(value);
        if (frame.data !== "" || frame.session !== null || frame.skipped) return { done: false, value: frame };
      }
    },
    async return() {
      await frames.return?.();
      return { done: true, value: undefined };
    },
  };
}

function asBase64({ data, ...frame }: ConsoleOutputFrame): EncodedFrame {
  const encoded = data.toString("base64");
  return { ...frame, data: encoded, nextOffset: frame.offset + data.length };
}

function asText(): Encode {
  const decoder = new ConsoleTextDecoder();
  return ({ data, ...frame }) => {
    const { offset, nextOffset, text } = decoder.decode(frame.offset, data, frame.session?.ended != null);
    return { ...frame, offset, nextOffset, data: text };
  };
}
