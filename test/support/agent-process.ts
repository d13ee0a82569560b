/**
 * An agent in a process of its own: `node --experimental-transform-types agent-process.ts STATE_DIR CONTROL_PLANE TOKEN [LISTEN_HOST [CONTAINER_SOCKET|"" [JOURNAL_DIRECTORY]]]`.
 * Says "up NODE_ID AGENT_ID PORT".
 */
import { startAgent } from "../../agent/main.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { preferSmallHeap } from "../../platform/small-heap.ts";
import { containerDrivers } from "./container-drivers.ts";

preferSmallHeap();
const [stateDir = "", controlPlane = "", joinToken, listenHost = "127.0.0.1", containerSocket = "", journalDirectory] =
  process.argv.slice(2);
const log = createLogger({ name: "agent", level: "warn" });
const agent = await startAgent({
  ...{ stateDir, controlPlane, joinToken, log, hostname: "host-1" },
  ...(journalDirectory === undefined ? {} : { journalDirectory }),
  listen: { host: listenHost, port: 0 },
  openInstances: containerSocket === "" ? undefined : containerDrivers(containerSocket, stateDir),
});
process.stdout.write(`up ${agent.nodeIds[0]} ${agent.agentId} ${agent.port}\n`);
