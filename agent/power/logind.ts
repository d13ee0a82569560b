import type { ExecResult, HostChannel, HostCommand } from "../host/host-channel.ts";
import { HostReadError } from "../host/host-channel.ts";

export type PowerAction = "REBOOT" | "SHUTDOWN";

/** Who keeps a host from going down now. */
export interface Inhibitor {
  who: string;
  why: string;
}

/** What the host's init says about its power. */
export interface PowerSupport {
  /** Null: it can; else why not, by logind's word ("na", "no", "challenge", …). */
  refusals: Record<PowerAction, string | null>;
  inhibitors: Inhibitor[];
  /** It is going down already, whoever asked for it. */
  goingDown: boolean;
}

const BUS = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"] as const;
const METHODS: Record<PowerAction, { can: string; go: string; systemctl: string }> = {
  REBOOT: { can: "CanReboot", go: "Reboot", systemctl: "reboot" },
  SHUTDOWN: { can: "CanPowerOff", go: "PowerOff", systemctl: "poweroff" },
};
/** Of systemd: there while it is the host's init. */
const SYSTEMD = "/run/systemd/system";
/** Of one call; logind may be started by it. */
const TIMEOUT_MS = 20_000;
const MAX_INHIBITORS = 20;

/*
 * logind by busctl, whose JSON is the same since systemd 239; without logind, `systemctl` where systemd is the init. Each line that runs as
 * root stands in the sudoers file with its arguments as they are here.
 */

/** Null: the host has no systemd. Throws HostReadError. */
export async function readPowerSupport(host: HostChannel): Promise<PowerSupport | null> {
  if (!(await hasSystemd(host))) return null;
  const [preparing, reboot, shutdown, inhibitors] = await Promise.all([
    busctl(host, ["get-property", ...BUS, "PreparingForShutdown"]),
    can(host, "REBOOT"),
    can(host, "SHUTDOWN"),
    readInhibitors(host),
  ]);
  if (preparing === null) return { refusals: { REBOOT: null, SHUTDOWN: null }, inhibitors: [], goingDown: await isStopping(host) };
  return { refusals: { REBOOT: reboot, SHUTDOWN: shutdown }, inhibitors, goingDown: preparing === true };
}

/** Begins it; resolves when the init has taken it. The answer of a program that refused is given as it is. */
export async function goDown(host: HostChannel, action: PowerAction): Promise<ExecResult> {
  const { go, systemctl } = METHODS[action];
  const byLogind = await run(host, { program: "busctl", args: ["call", ...BUS, go, "b", "false"], privileged: true });
  if (byLogind !== null && !isAway(byLogind)) return byLogind;
  return host.exec({ program: "systemctl", args: ["--no-block", systemctl], privileged: true }, { timeoutMs: TIMEOUT_MS });
}

async function hasSystemd(host: HostChannel): Promise<boolean> {
  try {
    await host.list(SYSTEMD);
    return true;
  } catch (error) {
    if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return false;
    throw error;
  }
}

/** Null: it can. */
async function can(host: HostChannel, action: PowerAction): Promise<string | null> {
  const answer = await busctl(host, ["call", ...BUS, METHODS[action].can], true);
  const word = Array.isArray(answer) ? answer[0] : null;
  if (word === "yes") return null;
  return typeof word === "string" ? word : "no";
}

/** Those that block; what only delays is waited for by logind itself. */
async function readInhibitors(host: HostChannel): Promise<Inhibitor[]> {
  const answer = await busctl(host, ["call", ...BUS, "ListInhibitors"]);
  const rows: unknown[] = Array.isArray(answer) && Array.isArray(answer[0]) ? answer[0] : [];
  return rows
    .flatMap((row) => {
      const [what, who, why, mode] = Array.isArray(row) ? row.map(String) : [];
      const blocks = mode === "block" && what?.split(":").includes("shutdown");
      return blocks ? [{ who: who ?? "", why: why ?? "" }] : [];
    })
    .slice(0, MAX_INHIBITORS);
}

/** `systemctl` alone: the queue of jobs holds the target that ends everything. */
async function isStopping(host: HostChannel): Promise<boolean> {
  const result = await run(host, { program: "systemctl", args: ["is-system-running"] });
  return result?.stdout.trim() === "stopping";
}

/** The `data` of busctl's JSON; null where there is no logind, or no busctl. Throws HostReadError MALFORMED for what is no JSON. */
async function busctl(host: HostChannel, args: readonly string[], privileged = false): Promise<unknown> {
  const result = await run(host, { program: "busctl", args: ["--json=short", ...args], privileged });
  if (result === null || isAway(result)) return null;
  if (result.exitCode !== 0) throw refusal(result);
  try {
    return (JSON.parse(result.stdout) as { data?: unknown }).data ?? null;
  } catch (error) {
    throw new HostReadError("MALFORMED", "busctl", "busctl did not write JSON: it is older than systemd 239.", error);
  }
}

/** logind says why it refuses; a busctl that says nothing was killed, or could not wait. */
function refusal({ exitCode, stderr }: ExecResult): HostReadError {
  const said = stderr.trim();
  if (said === "") return new HostReadError("UNREADABLE", "busctl", `busctl ended with ${exitCode} and did not say why.`);
  const late = /timed out|Timeout/i.test(said);
  return new HostReadError(
    late ? "TIMEOUT" : "NO_PERMISSION",
    "busctl",
    late ? `logind does not answer: ${said}` : `logind refused: ${said}`,
  );
}

/** Null: the program is not there. */
async function run(host: HostChannel, command: HostCommand): Promise<ExecResult | null> {
  try {
    return await host.exec(command, { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (error instanceof HostReadError && error.reason === "NOT_INSTALLED") return null;
    throw error;
  }
}

/** Neither a bus nor a logind that could be asked. */
function isAway({ exitCode, stderr }: ExecResult): boolean {
  return (
    exitCode !== 0 &&
    /Failed to (set bus address|connect to bus|open bus)|was not provided|not activatable|No such file or directory|Connection refused|Unit dbus-org\.freedesktop\.login1\.service/.test(
      stderr,
    )
  );
}
