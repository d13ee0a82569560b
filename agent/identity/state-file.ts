import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { replaceFile } from "../../platform/tls/certificate-files.ts";

const STATE_FILE = "state.json";
/** A control plane repeats a command only until it is acknowledged; older ids never come back. */
const MAX_HANDLED_COMMANDS = 256;

const nodeState = z.object({
  key: z.string(),
  nodeId: z.string(),
  /** Oldest first. */
  handledCommandIds: z.array(z.string()),
});

const agentState = z.object({
  version: z.literal(1),
  /** host:port that was used last. */
  controlPlane: z.string(),
  nodes: z.array(nodeState),
});

type Content = z.infer<typeof agentState>;

/** The key of the machine that the agent runs on. Not its hostname: a host that is renamed stays the same node. */
export const LOCAL_NODE = "local";

/** What the agent remembers across restarts, beside its identity: the control plane's address and, by a key of its own, its nodes. */
export class StateFile {
  readonly #path: string;
  #content: Content;
  /** Writes come one after the other, each with all that was changed before it. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, content: Content) {
    this.#path = path;
    this.#content = content;
  }

  /** Throws FAILED_PRECONDITION, saying what to do, for a damaged file. */
  static async open(stateDir: string): Promise<StateFile> {
    const path = join(stateDir, STATE_FILE);
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (text === null) return new StateFile(path, { version: 1, controlPlane: "", nodes: [] });
    try {
      return new StateFile(path, agentState.parse(JSON.parse(text)));
    } catch (cause) {
      throw new FleetError(
        "FAILED_PRECONDITION",
        `${path} is damaged. Restore it from a backup, or delete it: the control plane gives the node its id again by the agent's certificate.`,
        { cause },
      );
    }
  }

  /** Null before the first start. */
  get controlPlane(): string | null {
    return this.#content.controlPlane || null;
  }

  nodeId(key: string): string | null {
    return this.#content.nodes.find((node) => node.key === key)?.nodeId ?? null;
  }

  isHandled(nodeId: string, commandId: string): boolean {
    return this.#content.nodes.some((node) => node.nodeId === nodeId && node.handledCommandIds.includes(commandId));
  }

  async setControlPlane(address: string): Promise<void> {
    if (this.#content.controlPlane !== address) await this.#change((content) => ({ ...content, controlPlane: address }));
  }

  async setNode(key: string, nodeId: string): Promise<void> {
    if (this.nodeId(key) === nodeId) return;
    const node = { key, nodeId, handledCommandIds: [] };
    await this.#change((content) => ({ ...content, nodes: [...content.nodes.filter((other) => other.key !== key), node] }));
  }

  async forgetNode(key: string): Promise<void> {
    await this.#change((content) => ({ ...content, nodes: content.nodes.filter((node) => node.key !== key) }));
  }

  async addHandled(nodeId: string, commandId: string): Promise<void> {
    await this.#change((content) => ({
      ...content,
      nodes: content.nodes.map((node) =>
        node.nodeId === nodeId ? { ...node, handledCommandIds: [...node.handledCommandIds, commandId].slice(-MAX_HANDLED_COMMANDS) } : node,
      ),
    }));
  }

  /** Counts once it is on disk; throws the file system's error where it cannot be kept. */
  async #change(change: (content: Content) => Content): Promise<void> {
    const written = this.#writing.then(async () => {
      const next = change(this.#content);
      await replaceFile(this.#path, `${JSON.stringify(next, null, 2)}\n`);
      this.#content = next;
    });
    this.#writing = written.catch(() => undefined);
    await written;
  }
}
