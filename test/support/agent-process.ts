/** An agent in a process of its own: `node --experimental-transform-types agent-process.ts STATE_DIR CONTROL_PLANE [TOKEN]`. Says "up NODE_ID". */
import { startAgent } from "../../agent/main.ts";
import { createLogger } from "../../platform/observability/log.ts";

const [stateDir = "", controlPlane = "", joinToken] = process.argv.slice(2);
const log = createLogger({ name: "agent", level: "warn" });
const agent = await startAgent({ stateDir, controlPlane, joinToken, listen: { host: "127.0.0.1", port: 0 }, hostname: "host-1", log });
process.stdout.write(`up ${agent.nodeIds[0]} ${agent.agentId}\n`);
