import { Writable } from "node:stream";
import { pino } from "pino";
import { prettyLine } from "./log-pretty.ts";
import { redactFields, redactLine } from "./log-redaction.ts";

export type Logger = pino.Logger;

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** The process or part that speaks: "gateway", "clusters", "agent". */
  name: string;
  level: LogLevel;
  /** Lines for a person instead of JSON. */
  pretty?: boolean;
  /** Where the lines go instead of standard error. */
  destination?: Writable;
}

/**
 * A logger that writes one JSON object per line on standard error. The request id is the field `requestId`, an error the field `err`.
 * Secrets are replaced by their key wherever they stand (see log-redaction.ts).
 */
export function createLogger({ name, level, pretty = false, destination }: LoggerOptions): Logger {
  const sink = destination ?? standardError();
  const out = pretty ? prettyStream(sink) : sink;
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      base: {},
      formatters: {
        level: (label) => ({ level: label }),
        log: redactFields,
      },
      hooks: { streamWrite: redactLine },
    },
    out,
  );
}

type Sink = { write(line: string): unknown };

function standardError(): Sink {
  const stream = pino.destination({ dest: 2, sync: true });
  // A reader that went away (`fleetgraph up 2>&1 | head`) must not take the process with it.
  stream.on("error", () => undefined);
  return stream;
}

function prettyStream(sink: Sink): Writable {
  return new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      sink.write(prettyLine(line));
      done();
    },
  });
}
