import { execFile } from "node:child_process";
import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote";

/** Within one boot, entries of several files are in the order of the time since then. */
const BOOTED_AT = Date.parse("2025-01-01T00:00:00Z");

export interface JournalLine {
  message: string;
  /** Milliseconds since the epoch. */
  at: number;
  priority?: number;
  unit?: string;
  transport?: "kernel" | "journal";
}

/** A folder with a real journal, written by systemd-journal-remote. */
export class RealJournal implements AsyncDisposable {
  readonly directory: string;
  #files = 0;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(lines: Iterable<JournalLine> = []): Promise<RealJournal> {
    const journal = new RealJournal(await mkdtemp(join(tmpdir(), "fleetgraph-journal-")));
    await journal.write(lines);
    return journal;
  }

  /** As one more file of the journal: whoever follows it sees that. */
  async write(lines: Iterable<JournalLine>): Promise<void> {
    this.#files += 1;
    const input = join(this.directory, `input-${this.#files}`);
    let text = "";
    let count = 0;
    await writeFile(input, "");
    for (const line of lines) {
      text += exported(line);
      count += 1;
      if (text.length > 1_000_000) {
        await appendFile(input, text);
        text = "";
      }
    }
    await appendFile(input, text);
    if (count > 0) await run(JOURNAL_REMOTE, [`--output=${join(this.directory, `test-${this.#files}.journal`)}`, input]);
    await rm(input);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** In systemd's Journal Export Format. */
function exported({ message, at, priority = 6, unit = "test.service", transport = "journal" }: JournalLine): string {
  const text = /\n/.test(message) ? binary(message) : `MESSAGE=${message}\n`;
  return [
    `__REALTIME_TIMESTAMP=${at * 1000}`,
    `__MONOTONIC_TIMESTAMP=${(at - BOOTED_AT) * 1000}`,
    "_BOOT_ID=0123456789abcdef0123456789abcdef",
    "_MACHINE_ID=fedcba9876543210fedcba9876543210",
    `PRIORITY=${priority}`,
    `_SYSTEMD_UNIT=${unit}`,
    "SYSLOG_IDENTIFIER=tester",
    "_PID=1234",
    `_TRANSPORT=${transport}`,
    `${text}\n`,
  ].join("\n");
}

function binary(message: string): string {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(message)));
  return `MESSAGE\n${length.toString("latin1")}${message}\n`;
}
