import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import {
  BridgeAgentServiceDefinition,
  type HostAccess,
  type ProbeHostProgress,
} from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { probeHost } from "../bridge/probe-host.ts";
import { requireControlPlane } from "./callers.ts";
import { progressStream } from "./progress-stream.ts";

const MAX_TEXT = 2048;
const MAX_KEY = 64 * 1024;
const MAX_HOST_KEYS = 16;

/** Looks at hosts without an agent, before they are nodes. `allowed`: by this agent's own configuration. */
export function bridgeAgentService(allowed: boolean): GrpcService {
  return grpcService(BridgeAgentServiceDefinition, {
    async *probeHost({ access }, { fleet }) {
      requireControlPlane(fleet);
      if (!allowed) {
        const message = "This agent stands for no other hosts: its own configuration (agent.bridging) does not allow it.";
        throw new FleetError("FAILED_PRECONDITION", message, { reason: "BridgingNotAllowed" });
      }
      yield* probe(checked(access), fleet);
    },
  });
}

function probe(access: HostAccess, fleet: RequestContext): AsyncGenerator<ProbeHostProgress, void, undefined> {
  return progressStream<ProbeHostProgress>(async (tell, signal) => {
    const host = await probeHost(access, (step) => tell({ step, host: undefined }), signal, fleet.log);
    return { step: "DONE", host };
  }, fleet.signal);
}

function checked(access: HostAccess | undefined): HostAccess {
  if (access === undefined) throw invalidArgument("access", "It is not said how the host is reached.");
  const { uri, password, passphrase, privateKey, hostKeys } = access;
  for (const [field, text, most] of [
    ["uri", uri, MAX_TEXT],
    ["password", password, MAX_TEXT],
    ["passphrase", passphrase, MAX_TEXT],
    ["private_key", privateKey, MAX_KEY],
  ] as const) {
    if (text.length > most) throw invalidArgument(`access.${field}`, `It has at most ${most} characters.`);
  }
  if (hostKeys.length > MAX_HOST_KEYS) throw invalidArgument("access.host_keys", `There are at most ${MAX_HOST_KEYS} of them.`);
  return access;
}
