import type { Config } from "../../platform/config/settings.ts";
import { createLogger, type Logger } from "../../platform/observability/log.ts";
import type { ResealCounts } from "../../platform/secrets/reseal.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import { holdsData } from "../../subgraphs/kit/store/backup.ts";
import { databaseWork } from "../backup/database-work.ts";
import { StartError } from "../process/start-error.ts";
import { SUBGRAPHS, type SubgraphName } from "../subgraphs.ts";

type Reseal = (databaseUrl: string, keys: SecretKeys, log: Logger) => Promise<ResealCounts>;

/**
 * Adds a key, unless `resume`, and seals everything in all databases with the newest one, also while servers run on them. Gives one line per
 * database. Throws StartError, at its end, where something could not be opened.
 */
export async function rotateSecrets(config: Config, { resume }: { resume: boolean }, log = ownLog()): Promise<string[]> {
  const keys = await SecretKeys.open(config["secrets.keyDir"]);
  if (!resume) await keys.addKey();
  const told: string[] = [];
  let failed = 0;
  for (const name of SUBGRAPHS) {
    const url = config[`database.${name}`];
    if (!(await databaseWork(name, holdsData(url)))) {
      told.push(`database ${name}: left out, there is none yet`);
      continue;
    }
    const counts = await databaseWork(
      name,
      reseal(name).then((work) => work(url, keys, log)),
    );
    failed += counts.failed;
    told.push(`database ${name}: secrets sealed anew: ${counts.resealed}`);
  }
  if (failed === 0) return told;
  throw new StartError(
    `${told.join("\n")}\nSecrets that could not be opened, and stay as they are: ${failed}. The log says which; set them again.`,
  );
}

function ownLog(): Logger {
  return createLogger({ name: "secrets", level: "warn", pretty: process.stderr.isTTY === true });
}

async function reseal(name: SubgraphName): Promise<Reseal> {
  switch (name) {
    case "clusters":
      return (await import("../../subgraphs/clusters/main.ts")).resealClustersSecrets;
    case "nodes":
      return (await import("../../subgraphs/nodes/main.ts")).resealNodesSecrets;
    case "compute":
      return (await import("../../subgraphs/compute/main.ts")).resealComputeSecrets;
  }
}
