import type { HostChannel, HostNeeds } from "../host-channel.ts";
import { type Capture, parseCapture } from "./format.ts";
import { captureScript } from "./script.ts";

/** What the script writes is bounded; each of its programs has a deadline of its own. */
const LIMITS = { timeoutMs: 60_000, maxBytes: 64 * 1024 * 1024 };

/** Reads all of it in one go, by one shell on the host. Throws HostReadError. */
export async function fetchCapture(host: Pick<HostChannel, "exec">, needs: HostNeeds): Promise<Capture> {
  const { stdout, stderr } = await host.exec({ program: "sh", args: [] }, { ...LIMITS, input: captureScript(needs) });
  return parseCapture(stdout, stderr);
}
