import { Command, CommanderError } from "commander";
import { HostReadError } from "../agent/host/host-channel.ts";
import { ConfigError } from "../platform/config/load-config.ts";
import { FleetError } from "../platform/errors/fleet-error.ts";
import { agentCommand } from "./commands/agent.ts";
import { backupCommand } from "./commands/backup.ts";
import { clusterCommand } from "./commands/cluster.ts";
import { gatewayCommand } from "./commands/gateway.ts";
import { restoreCommand } from "./commands/restore.ts";
import { schemaCommand } from "./commands/schema.ts";
import { secretsCommand } from "./commands/secrets.ts";
import { simulateCommand } from "./commands/simulate.ts";
import { subgraphCommand } from "./commands/subgraph.ts";
import { tokenCommand } from "./commands/token.ts";
import { upCommand } from "./commands/up.ts";
import { StartError } from "./process/start-error.ts";
import { fleetgraphVersion } from "./version.ts";

/** The exit codes: the command failed, or it was not understood. */
const FAILED = 1;
const MISUSED = 2;

const INTRODUCTION = `One GraphQL for a whole fleet of hosts.

\`fleetgraph up\` runs everything in one process, with an agent for this machine. The other commands run its parts
by themselves, or work on their data. Every setting is also an environment variable or a line in fleetgraph.yaml:
see docs/configuration.md.`;

/**
 * Runs a command line, without the program's name, and gives the exit code: 1 where the command fails, 2 where it is not understood.
 * A command that serves gives 0 once it does; the process then lives until it is stopped.
 */
export async function run(args: string[]): Promise<number> {
  try {
    await program().parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : MISUSED;
    process.stderr.write(`fleetgraph: ${explain(error)}\n`);
    return error instanceof ConfigError ? MISUSED : FAILED;
  }
}

function program(): Command {
  const root = new Command("fleetgraph")
    .description(INTRODUCTION)
    .version(fleetgraphVersion(), "-V, --version", "Print the version")
    .helpOption("-h, --help", "Print this help")
    .showSuggestionAfterError(true);
  const commands = [
    upCommand(),
    gatewayCommand(),
    subgraphCommand(),
    agentCommand(),
    tokenCommand(),
    schemaCommand(),
    simulateCommand(),
    backupCommand(),
    restoreCommand(),
    secretsCommand(),
    clusterCommand(),
  ];
  for (const command of commands) root.addCommand(command);
  for (const command of [root, ...commands, ...commands.flatMap((command) => command.commands)]) {
    command
      .exitOverride()
      .configureHelp({ showGlobalOptions: false })
      .showHelpAfterError(`(see \`${fullName(command)} --help\`)`);
    command.helpOption("-h, --help", "Print this help");
  }
  return root;
}

/** With those that it is a part of: "fleetgraph secrets rotate". */
function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

/** What a person at a terminal can act on; the stack only of what nobody foresaw. */
function explain(error: unknown): string {
  if (error instanceof ConfigError) {
    const [first, ...more] = error.mistakes;
    return more.length === 0 ? `${first}` : `the configuration has ${error.mistakes.length} mistakes:\n  ${error.mistakes.join("\n  ")}`;
  }
  if (error instanceof StartError || error instanceof FleetError || error instanceof HostReadError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
