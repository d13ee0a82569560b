import type { Duplex, Readable, Writable } from "node:stream";
import { FleetError } from "../../../platform/errors/fleet-error.ts";

/** Bytes to and from a daemon, however it is reached. */
export interface Transport {
  readonly input: Readable;
  readonly output: Writable;
  /** Resolves, once, with why the way is gone. Never rejects. */
  readonly ended: Promise<Error>;
  /** Resolves when nothing of it is left. */
  close(): Promise<void>;
}

/** For a far end that does not confirm the end. */
const GONE_MS = 2000;

export function asTransport(stream: Duplex): Transport {
  const ended = Promise.withResolvers<Error>();
  const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()));
  stream.on("error", (error: NodeJS.ErrnoException) => ended.resolve(lost(error.code ?? error.message)));
  stream.once("close", () => ended.resolve(lost("closed by the daemon")));
  return {
    input: stream,
    output: stream,
    ended: ended.promise,
    async close() {
      const gone = Promise.withResolvers<void>();
      const timer = setTimeout(gone.resolve, GONE_MS);
      // What sits unread in an SSH channel would hold its close back.
      stream.resume();
      stream.destroy();
      await Promise.race([closed, gone.promise]);
      clearTimeout(timer);
      ended.resolve(lost("closed"));
    },
  };
}

function lost(why: string): FleetError {
  return new FleetError("UNAVAILABLE", `The connection to libvirt's daemon was lost (${why}).`);
}
