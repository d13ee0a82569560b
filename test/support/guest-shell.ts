import type { LibvirtClient } from "../../agent/libvirt/client.ts";
import type { LibvirtStream } from "../../agent/libvirt/stream.ts";
import { until } from "./until.ts";

/** A shell in the tiny guest (see tiny-guest.ts), by its serial console. One at a time for a guest. */
export class GuestShell {
  readonly #stream: LibvirtStream;
  readonly #reading: Promise<void>;
  #said = "";
  #commands = 0;

  private constructor(stream: LibvirtStream) {
    this.#stream = stream;
    this.#reading = this.#read().catch(() => undefined);
  }

  /** Waits for the guest to be up. */
  static async open(client: LibvirtClient, dom: { name: string; uuid: string }): Promise<GuestShell> {
    const shell = new GuestShell(await client.openStream("domainOpenConsole", { dom }));
    // One that was left at its prompt says it again.
    const nudge = setInterval(() => void shell.#stream.write(Buffer.from("\n")).catch(() => undefined), 1000);
    try {
      await until(() => shell.#said.includes("guest# "), "the guest's shell", 60_000);
    } finally {
      clearInterval(nudge);
    }
    return shell;
  }

  /** What a command says, without the blanks around it and what the guest says of itself. */
  async run(command: string): Promise<string> {
    const id = `${++this.#commands}-${Date.now()}`;
    const from = this.#said.length;
    // What is typed is echoed, and broken into lines: only the shell puts the marks together.
    await this.#stream.write(Buffer.from(`echo "B"EGIN-${id}; ${command}; echo "E"ND-${id}\n`));
    const placeOf = (mark: string) => this.#said.indexOf(`${mark}-${id}`, from);
    await until(() => placeOf("END") !== -1, `the guest to have run ${command}`, 60_000);
    return this.#said
      .slice(placeOf("BEGIN") + `BEGIN-${id}`.length, placeOf("END"))
      .replaceAll("\r", "")
      .replace(/^FLEETGRAPH-GUEST-.*\n?/gm, "")
      .trim();
  }

  async close(): Promise<void> {
    this.#stream.abort();
    await this.#reading;
  }

  async #read(): Promise<void> {
    for await (const data of this.#stream) this.#said += Buffer.from(data).toString("latin1");
  }
}
