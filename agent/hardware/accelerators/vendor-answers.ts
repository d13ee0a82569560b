import { type ExecResult, type HostChannel, type HostCommand, HostReadError, type UnreadableReason } from "../../host/host-channel.ts";
import { ASCEND } from "./ascend.ts";
import { CAMBRICON } from "./cambricon.ts";
import { NVIDIA } from "./nvidia.ts";
import { HYGON, ROCM } from "./rocm.ts";
import type { VendorProgram, VendorReport } from "./vendor-program.ts";

export const VENDOR_PROGRAMS: readonly VendorProgram[] = [NVIDIA, ASCEND, HYGON, ROCM, CAMBRICON];

/** What a vendor's program said, or why it said nothing. */
export type VendorAnswer = { program: VendorProgram; report: VendorReport } | { program: VendorProgram; failure: VendorFailure };

export interface VendorFailure {
  reason: UnreadableReason;
  message: string;
}

/** A driver that has to wake eight cards first takes its time. */
const TIMEOUT_MS = 30_000;

/** Asks every vendor's program that the host has, side by side. Never throws. */
export async function askVendors(host: HostChannel, options: { topology: boolean }): Promise<VendorAnswer[]> {
  return await Promise.all(VENDOR_PROGRAMS.map((program) => askVendor(host, program, options.topology)));
}

async function askVendor(host: HostChannel, program: VendorProgram, withTopology: boolean): Promise<VendorAnswer> {
  let failure: VendorFailure = { reason: "NOT_INSTALLED", message: "" };
  for (const command of program.commands) {
    try {
      const output = succeeded(command, await host.exec(command, { timeoutMs: TIMEOUT_MS })).stdout;
      const topology = withTopology && program.topology !== null ? await orNull(host, program.topology) : null;
      return { program, report: program.parse(output, topology) };
    } catch (error) {
      const failed = failureOf(command, error);
      // A program that is there and fails says more than one that is not.
      if (failed.reason !== "NOT_INSTALLED") return { program, failure: failed };
      if (failure.message === "") failure = failed;
    }
  }
  return { program, failure };
}

async function orNull(host: HostChannel, command: HostCommand): Promise<string | null> {
  try {
    return succeeded(command, await host.exec(command, { timeoutMs: TIMEOUT_MS })).stdout;
  } catch (error) {
    if (error instanceof HostReadError) return null;
    throw error;
  }
}

function succeeded(command: HostCommand, result: ExecResult): ExecResult {
  if (result.exitCode === 0) return result;
  const said = `${result.stderr.trim()} ${result.stdout.trim()}`.trim().slice(0, 300);
  throw new HostReadError("UNREADABLE", command.program, `${command.program} ended with ${result.exitCode}: ${said}`);
}

/** What a parser throws is about an output that it does not understand. */
function failureOf(command: HostCommand, error: unknown): VendorFailure {
  if (error instanceof HostReadError) return { reason: error.reason, message: error.message };
  const why = error instanceof Error ? error.message : String(error);
  return { reason: "MALFORMED", message: `What ${command.program} wrote is not understood: ${why.slice(0, 300)}` };
}
