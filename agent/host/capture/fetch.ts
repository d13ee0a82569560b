import type { HostChannel, HostNeeds } from "../host-channel.ts";
import type { ScriptLimits, ScriptResult } from "../ssh/kept-shell.ts";
import { type Capture, parseCapture } from "./format.ts";
import { captureScript } from "./script.ts";

/** What the script writes is bounded; each of its programs has a deadline of its own. */
const LIMITS = { timeoutMs: 60_000, maxBytes: 64 * 1024 * 1024 };

/** Runs a script for sh on the host. */
export type RunScript = (script: string, limits: ScriptLimits) => Promise<ScriptResult>;

/** Reads all of it in one go, by one shell on the host. Throws HostReadError. */
export async function fetchCapture(run: RunScript, needs: HostNeeds): Promise<Capture> {
  const { stdout, stderr } = await run(captureScript(needs), LIMITS);
  return parseCapture(stdout, stderr);
}

/** By a shell that is started for it. */
export function scriptsBy(host: Pick<HostChannel, "exec">): RunScript {
  return (script, limits) => host.exec({ program: "sh", args: [] }, { ...limits, input: script });
}
