import { Command, Option } from "commander";
import { ROLES, type Role } from "../../platform/auth/identity.ts";
import { integerOption, secondsOption } from "../option-types.ts";
import { addSettings, configOf } from "../setting-options.ts";
import { SUBGRAPHS, type SubgraphName } from "../subgraphs.ts";

interface TokenOptions {
  role: Role;
  subject: string;
  /** Seconds. */
  ttl?: number;
  join?: true;
  uses: number;
  control?: SubgraphName;
  out?: string;
}

const USER_TTL_SECONDS = 86_400;
const JOIN_TTL_SECONDS = 3600;
const TEN_YEARS_SECONDS = 10 * 365 * 86_400;

export function tokenCommand(): Command {
  const command = new Command("token")
    .description(
      "Print a token for a person or a program, or with --join one for a host. It works on the files of --data, whether or not anything runs.",
    )
    .addOption(new Option("--role <role>", "What the token's owner may do").choices(ROLES).default("viewer").conflicts("join"))
    .addOption(new Option("--subject <name>", "Who the token stands for").default("cli").conflicts("join"))
    .addOption(
      new Option("--ttl <duration>", "How long it is valid (default: 1d; a join token 1h)").argParser(secondsOption(1, TEN_YEARS_SECONDS)),
    )
    .addOption(new Option("--join", "A join token for `fleetgraph agent`"))
    .addOption(new Option("--uses <number>", "How many hosts may join with it").default(1).argParser(integerOption(1, 100_000)))
    .addOption(
      new Option("--control <subgraph>", "Write credentials for a subgraph that does not share the CA's folder, and print where")
        .choices(SUBGRAPHS)
        .conflicts("join"),
    )
    .addOption(new Option("--out <folder>", "Where --control writes them (default: DATA/<subgraph>-credentials)"))
    .action(async (options: TokenOptions) => {
      const { config } = configOf(command, "token");
      const { controlCredentials, joinToken, userToken } = await import("../token/credentials.ts");
      const made = () => {
        if (options.control !== undefined) return controlCredentials(config, options.control, options.out);
        if (options.join === true) return joinToken(config, { ttlSeconds: options.ttl ?? JOIN_TTL_SECONDS, uses: options.uses });
        return userToken(config, { subject: options.subject, role: options.role, ttlSeconds: options.ttl ?? USER_TTL_SECONDS });
      };
      process.stdout.write(`${await made()}\n`);
    });
  return addSettings(command, "token");
}
