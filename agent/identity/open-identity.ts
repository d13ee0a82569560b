import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { readOnlyCa } from "../../platform/tls/certificate-authority.ts";
import { Backoff, pause } from "../control-plane/backoff.ts";
import { reactionTo } from "../control-plane/refusals.ts";
import { type AgentCredentials, loadCredentials } from "./credentials.ts";
import { enroll } from "./enrollment.ts";
import { type JoinToken, parseJoinToken } from "./join-token.ts";
import type { StateFile } from "./state-file.ts";

export interface IdentityOptions {
  controlPlane?: string;
  joinToken?: string | (() => Promise<string>);
  stateDir: string;
  log: Logger;
  signal?: AbortSignal;
}

export interface OpenIdentity {
  credentials: AgentCredentials;
  /** host:port */
  controlPlane: string;
}

const BACKOFF = { firstMs: 1000, longestMs: 15_000 };

/**
 * The identity that the agent has, or a new one by the join token; with the control plane's address: as configured, else as in a token that was
 * used just now, else as before. Waits for a control plane that cannot be reached. Throws FAILED_PRECONDITION where there is neither an
 * identity nor a token (reason NotJoined), or where a token is another fleet's (reason OtherFleet).
 */
export async function openIdentity(options: IdentityOptions, state: StateFile): Promise<OpenIdentity> {
  const known = await loadCredentials(options.stateDir);
  if (known === null) return join(options, state);
  if (typeof options.joinToken === "string") refuseOtherFleet(parseJoinToken(options.joinToken), known, options.stateDir);
  const controlPlane = options.controlPlane ?? state.controlPlane ?? addressIn(options.joinToken);
  if (controlPlane === null)
    throw new FleetError("FAILED_PRECONDITION", "The control plane's address is not known: give it with --control-plane.");
  await keepAddress(state, controlPlane, options.log);
  return { credentials: known, controlPlane };
}

async function join(options: IdentityOptions, state: StateFile): Promise<OpenIdentity> {
  const text = typeof options.joinToken === "function" ? await options.joinToken() : options.joinToken;
  if (text === undefined) {
    throw new FleetError(
      "FAILED_PRECONDITION",
      "This agent has not joined yet: start it once with --join TOKEN (`fleetgraph token --join`).",
      {
        reason: "NotJoined",
      },
    );
  }
  const token = parseJoinToken(text);
  const controlPlane = options.controlPlane ?? token.address;
  const credentials = await enrollPatiently(token, controlPlane, options);
  options.log.info({ agentId: credentials.agentId, controlPlane }, "joined");
  await keepAddress(state, controlPlane, options.log);
  return { credentials, controlPlane };
}

async function enrollPatiently(token: JoinToken, address: string, { stateDir, log, signal }: IdentityOptions): Promise<AgentCredentials> {
  const backoff = new Backoff(BACKOFF);
  const patience = signal ?? new AbortController().signal;
  for (;;) {
    try {
      return await enroll(token, address, stateDir, signal);
    } catch (thrown) {
      const error = FleetError.from(thrown);
      // What the disk says, for one, does not get better by asking the control plane again.
      if (patience.aborted || error.code === "INTERNAL" || reactionTo(error) === "wait") throw error;
      const pauseMs = backoff.next();
      log.warn(
        { code: error.code, err: error, controlPlane: address, pauseMs: Math.round(pauseMs) },
        "waiting for the control plane, to join",
      );
      await pause(pauseMs, patience);
    }
  }
}

/** A token given again is ignored, so that a service's command line can keep it; one of another CA is a mistake. */
function refuseOtherFleet(token: JoinToken, known: AgentCredentials, stateDir: string): void {
  if (readOnlyCa(known.caPem).fingerprint === token.caFingerprint) return;
  throw new FleetError(
    "FAILED_PRECONDITION",
    `This agent belongs to another control plane than the join token's. Empty ${stateDir} to leave that one, or drop the token.`,
    { reason: "OtherFleet" },
  );
}

function addressIn(joinToken: IdentityOptions["joinToken"]): string | null {
  return typeof joinToken === "string" ? parseJoinToken(joinToken).address : null;
}

/** Without it on disk, the next start only needs the address again. */
async function keepAddress(state: StateFile, address: string, log: Logger): Promise<void> {
  await state
    .setControlPlane(address)
    .catch((error: unknown) => log.warn({ err: error }, "the control plane's address cannot be kept on disk"));
}
