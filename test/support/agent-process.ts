/** An agent in a process of its own: `node --experimental-transform-types agent-process.ts STATE_DIR CONTROL_PLANE TOKEN [LISTEN_HOST]`. Says "up NODE_ID". */
import { startAgent } from "../../agent/main.ts";
import { createLogger } from "../../platform/observability/log.ts";

const [stateDir = "", controlPlane = "", joinToken, listenHost = "127.0.0.1"] = process.argv.slice(2);
const log = createLogger({ name: "agent", level: "warn" });
const agent = await startAgent({ stateDir, controlPlane, joinToken, listen: { host: listenHost, port: 0 }, hostname: "host-1", log });
process.stdout.write(`up ${agent.nodeIds[0]} ${agent.agentId}\n`);
