import type { Logger } from "../../platform/observability/log.ts";
import type { NodeCommand } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { StateFile } from "../identity/state-file.ts";

/** Carries a command out. What it throws is logged; the command counts as run. */
export type CommandHandler = (nodeId: string, command: NodeCommand) => Promise<void>;

/** By the command's type: "drain", "maintenance", "upgrade". */
export type CommandHandlers = ReadonlyMap<string, CommandHandler>;

/** No heartbeat may acknowledge more at once. */
const MAX_ACKNOWLEDGED = 100;

/** Runs each command of a node once, and knows what is to be acknowledged. */
export class CommandRunner {
  readonly #state: StateFile;
  readonly #handlers: CommandHandlers;
  readonly #log: Logger;
  #toAcknowledge: string[] = [];

  constructor(state: StateFile, handlers: CommandHandlers, log: Logger) {
    this.#state = state;
    this.#handlers = handlers;
    this.#log = log;
  }

  /** The ids for the next heartbeat. */
  get toAcknowledge(): readonly string[] {
    return this.#toAcknowledge;
  }

  /**
   * Takes the commands of a heartbeat's answer, whose request acknowledged `acknowledged`. A command is noted on disk before it runs: after a
   * SIGKILL in between it counts as run, since running one twice is worse than asking an operator to repeat it. Where it cannot be noted
   * it stays open, and comes again with the next answer.
   */
  async take(nodeId: string, commands: readonly NodeCommand[], acknowledged: readonly string[]): Promise<void> {
    const open = new Set(commands.map((command) => command.id));
    this.#toAcknowledge = this.#toAcknowledge.filter((id) => open.has(id) || !acknowledged.includes(id));
    for (const command of commands) {
      if (this.#toAcknowledge.length >= MAX_ACKNOWLEDGED) return;
      if (!this.#state.isHandled(nodeId, command.id)) {
        try {
          await this.#state.addHandled(nodeId, command.id);
        } catch (error) {
          this.#log.error({ nodeId, commandId: command.id, err: error }, "a command waits, because it cannot be noted on disk");
          return;
        }
        await this.#run(nodeId, command);
      }
      if (!this.#toAcknowledge.includes(command.id)) this.#toAcknowledge.push(command.id);
    }
  }

  async #run(nodeId: string, command: NodeCommand): Promise<void> {
    const handler = this.#handlers.get(command.type);
    if (handler === undefined) {
      this.#log.warn({ nodeId, commandId: command.id, type: command.type }, "this agent cannot carry out commands of this type");
      return;
    }
    try {
      await handler(nodeId, command);
      this.#log.info({ nodeId, commandId: command.id, type: command.type }, "carried out a command");
    } catch (error) {
      this.#log.error({ nodeId, commandId: command.id, type: command.type, err: error }, "a command failed");
    }
  }
}
