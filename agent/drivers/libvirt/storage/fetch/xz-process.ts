import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { precondition } from "../../../shared/refusals.ts";
import { damagedArchive } from "./damaged-archive.ts";
import type { Decoder, Output } from "./decoder.ts";
import { type Codec, StreamDecoder } from "./stream-decoder.ts";

/** What xz -9 needs, and some more. */
const MEMORY_LIMIT = "192MiB";
const ARGUMENTS = ["--decompress", "--stdout", "--format=xz", "--threads=1", `--memlimit-decompress=${MEMORY_LIMIT}`];
const SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin";
const MAX_SAID = 500;

/**
 * By the xz program, which every distribution's package manager brings along: what strangers packed is unpacked in a process of its own,
 * with bounded memory, and there is no library for Node that streams, is kept up and does not bring C code into the agent.
 */
export class XzProcess implements Decoder {
  readonly #decoder: StreamDecoder;

  /** `program` is looked for where programs usually are. */
  constructor(output: Output, program = "xz") {
    this.#decoder = new StreamDecoder(startXz(program), output);
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#decoder.write(chunk);
  }

  end(): Promise<void> {
    return this.#decoder.end();
  }

  abort(): Promise<void> {
    return this.#decoder.abort();
  }
}

function startXz(program: string): Codec {
  // Its own options (XZ_OPT, XZ_DEFAULTS) and what else is the agent's are left behind.
  const child = spawn(program, ARGUMENTS, { stdio: "pipe", env: { PATH: SEARCH_PATH, LC_ALL: "C" } });
  const exited = exitOf(child);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-MAX_SAID);
  });
  return {
    input: child.stdin,
    output: child.stdout,
    confirm: async () => {
      const { error, code, signal } = await exited;
      if (error?.code === "ENOENT") {
        throw precondition("UnpackerMissing", "Images packed by xz need the program xz on the agent's machine: install xz-utils.");
      }
      if (error !== null || code !== 0) {
        const why = said.replaceAll("(stdin): ", "").replaceAll(`${program}: `, "").trim();
        throw damagedArchive(`xz says ${JSON.stringify(why || error?.message || `exit ${code ?? signal}`)}`);
      }
    },
    destroy: async () => {
      child.kill("SIGKILL");
      child.stdin.destroy();
      child.stdout.destroy();
      await exited;
    },
  };
}

interface Exit {
  error: NodeJS.ErrnoException | null;
  code: number | null;
  signal: string | null;
}

async function exitOf(child: ChildProcessWithoutNullStreams): Promise<Exit> {
  try {
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    return { error: null, code, signal };
  } catch (error) {
    return { error: error as NodeJS.ErrnoException, code: null, signal: null };
  }
}
