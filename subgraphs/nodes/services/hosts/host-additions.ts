import { setTimeout as sleep } from "node:timers/promises";
import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";
import type { AdditionRun } from "./addition-run.ts";
import type { HostClaim, HostClaims } from "./host-claims.ts";
import { checkNewHost, type RawHost } from "./host-input.ts";
import { beginHost } from "./host-records.ts";
import type { HostSecrets } from "./host-secrets.ts";
import { hostnameTaken } from "./host-types.ts";

export interface HostAdditionsParts {
  /** The control plane itself: an addition goes on when its caller has gone. */
  ctx: RequestContext;
  claims: HostClaims;
  secrets: HostSecrets;
  directory: AgentDirectory;
  run: AdditionRun;
}

export interface AddedHost {
  nodeId: string;
  /** A node of the machine whose agent reached it. */
  bridgedBy: string | null;
  hostKeys: string[];
}

const LOOK_MS = 250;
const AT_ONCE = 8;
const UNDER_WAY = ["PROBING", "REGISTERING"] as const;

/**
 * Adds hosts by their URI: what is being done is stored first, an agent contacts the host, and only then it becomes a node. A run that was cut
 * off is gone on with by whichever replica; one that fails leaves nothing.
 */
export class HostAdditions {
  readonly #parts: HostAdditionsParts;
  /** The runs of this process, by the host's id; who repeats a request waits for the same run. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: HostAdditionsParts) {
    this.#parts = parts;
  }

  /**
   * Rights: admin. The same clientRequestId gives the same node. Throws INVALID_ARGUMENT, ALREADY_EXISTS (HostnameTaken, SameHost), and with
   * details.step what the contact failed at. A caller that goes away does not end it.
   */
  async add(ctx: RequestContext, raw: RawHost): Promise<AddedHost> {
    requireRole(ctx.identity, "admin");
    const input = checkNewHost(raw);
    const { claims, secrets } = this.#parts;
    const addedBy = callerName(ctx.identity);
    const isTaken = (hostname: string) => this.#isTaken(hostname);
    for (;;) {
      const { host, claim } = await beginHost({ claims, secrets, isTaken }, input, addedBy);
      if (claim !== null) ctx.log.info({ hostname: host.hostname, uri: host.uri, by: addedBy }, "a host is being added");
      const added = await this.#outcome(ctx, host, claim);
      // Another replica gave it up, and said why to its own caller: this one asks anew.
      if (added !== null) return added;
    }
  }

  /** Goes on with what nobody works on: its replica was stopped or killed. */
  async round(): Promise<void> {
    const { claims, ctx } = this.#parts;
    for (const host of await claims.unclaimed({ state: { $in: [...UNDER_WAY] } }, AT_ONCE)) {
      if (this.#running.size >= AT_ONCE || ctx.signal.aborted) return;
      const claim = await claims.claim(host.id, { state: { $in: [...UNDER_WAY] } });
      ctx.log.info({ hostname: host.hostname }, "going on with adding a host");
      this.#start(claim, host, true)?.catch((error: unknown) => {
        const { code, reason, message, details } = FleetError.from(error);
        ctx.log.warn({ hostname: host.hostname, code, reason, step: details["step"] }, `a host was not added: ${message}`);
      });
    }
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  /** Null where nothing is left of it, and why is not known here. */
  async #outcome(ctx: RequestContext, begun: BridgedHost, claim: HostClaim | null): Promise<AddedHost | null> {
    let mine = claim;
    for (let host: BridgedHost | null = begun; host !== null; host = await this.#parts.claims.read(begun.id)) {
      const added = addedHost(host);
      if (added !== null) return added;
      if (host.state === "REMOVING") throw hostnameTaken(host.hostname);
      // Without a run another replica has it, or had it and a round goes on with it.
      const run = this.#running.get(host.id) ?? this.#start(mine, host);
      mine = null;
      await untilAborted(run ?? sleep(LOOK_MS), ctx.signal);
    }
    return null;
  }

  #start(claim: HostClaim | null, { id }: BridgedHost, isContinued = false): Promise<void> | null {
    if (claim === null) return null;
    const run = this.#parts.run.carryOut(claim, isContinued).finally(() => this.#running.delete(id));
    // Its caller may have gone.
    run.catch(() => undefined);
    this.#running.set(id, run);
    return run;
  }

  #isTaken(hostname: string): boolean {
    const { directory } = this.#parts;
    for (const nodeId of directory.nodeIds()) if (directory.get(nodeId)?.hostname === hostname) return true;
    return false;
  }
}

/** Null before it is a node. */
function addedHost({ state, nodeId, settings, hostKeys }: BridgedHost): AddedHost | null {
  return state === "READY" && nodeId !== null ? { nodeId, bridgedBy: settings.probed?.agentNodeId ?? null, hostKeys } : null;
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
