const HEADER_BYTES = 8;
/** Where in a header the length of what follows it stands. */
const LENGTH_AT = 4;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/**
 * What a container without a terminal puts out. The engine sends its output and its errors in packets behind headers of 8 bytes (which of the
 * two, then the length); here they come as a terminal shows them: one after the other, each line feed behind a carriage return.
 */
export async function* withoutHeaders(packets: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let header = Buffer.alloc(0);
  let left = 0;
  for await (const chunk of packets) {
    let rest = chunk;
    while (rest.length > 0) {
      if (left === 0) {
        const missing = HEADER_BYTES - header.length;
        header = Buffer.concat([header, rest.subarray(0, missing)]);
        rest = rest.subarray(missing);
        if (header.length < HEADER_BYTES) continue;
        left = header.readUInt32BE(LENGTH_AT);
        header = Buffer.alloc(0);
      } else {
        const data = rest.subarray(0, left);
        rest = rest.subarray(data.length);
        left -= data.length;
        yield withReturns(data);
      }
    }
  }
}

function withReturns(data: Buffer): Buffer {
  if (!data.includes(LINE_FEED)) return data;
  const lines = data.reduce((count, byte) => count + (byte === LINE_FEED ? 1 : 0), 0);
  const shown = Buffer.allocUnsafe(data.length + lines);
  let at = 0;
  for (const byte of data) {
    if (byte === LINE_FEED) shown[at++] = CARRIAGE_RETURN;
    shown[at++] = byte;
  }
  return shown;
}
