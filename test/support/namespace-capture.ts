import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { CapturedHost } from "../../agent/host/capture/captured-host.ts";
import { parseCapture } from "../../agent/host/capture/format.ts";
import { captureScript } from "../../agent/host/capture/script.ts";
import type { HostNeeds } from "../../agent/host/host-channel.ts";
import type { NetworkNamespace } from "./network-namespace.ts";

const run = promisify(execFile);

/** What the agent would fetch over SSH of a host that has this network: `ip netns exec` gives its programs a /sys of the namespace. */
export async function captureIn(namespace: NetworkNamespace, needs: HostNeeds): Promise<CapturedHost> {
  const [program = "", ...args] = [...namespace.prefix, "sh", "-c", captureScript(needs)];
  const { stdout, stderr } = await run(program, args, { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 });
  return new CapturedHost(parseCapture(stdout, stderr));
}
