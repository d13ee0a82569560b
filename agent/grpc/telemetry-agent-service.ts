import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import {
  type AcceleratorUsage,
  TelemetryAgentServiceDefinition,
  type WatchNetworkCountersRequest,
} from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { readAcceleratorUsage } from "../hardware/accelerators/accelerators.ts";
import { CounterSamples, type WatchedCounters } from "../hardware/watch/counter-samples.ts";
import type { HostChannel } from "../host/host-channel.ts";
import type { FindHost } from "./agent-service.ts";
import { ofOwnNode } from "./callers.ts";

const MAX_SECONDS = 60;
const MAX_INTERFACES = 1000;
const MAX_NAME = 64;

/** What changes all the time, read when it is asked for. Every call names its node. */
export function telemetryAgentService(findHost: FindHost): GrpcService {
  const counters = new WeakMap<HostChannel, CounterSamples>();
  const usages = new Map<HostChannel, Promise<AcceleratorUsage>>();
  const countersOf = (fleet: RequestContext, nodeId: string): CounterSamples => {
    const host = ofOwnNode(fleet, nodeId, findHost);
    const samples = counters.get(host) ?? new CounterSamples(host);
    counters.set(host, samples);
    return samples;
  };
  return grpcService(TelemetryAgentServiceDefinition, {
    getNetworkCounters: ({ nodeId }, { fleet }) => countersOf(fleet, nodeId).read(),
    async *watchNetworkCounters(request, { fleet }) {
      yield* countersOf(fleet, request.nodeId).watch(checked(request), fleet.signal);
    },
    async getAcceleratorUsage({ nodeId }, { fleet }) {
      const host = ofOwnNode(fleet, nodeId, findHost);
      // Vendors' programs take their time: callers that ask at once get one reading.
      let usage = usages.get(host);
      if (usage === undefined) {
        usage = readAcceleratorUsage(host).finally(() => usages.delete(host));
        usages.set(host, usage);
      }
      return await usage;
    },
  });
}

function checked({ intervalSeconds, interfaces }: WatchNetworkCountersRequest): WatchedCounters {
  if (!Number.isInteger(intervalSeconds) || intervalSeconds < 0 || intervalSeconds > MAX_SECONDS) {
    throw invalidArgument("interval_seconds", `An interval is a whole number of seconds from 1 to ${MAX_SECONDS}.`);
  }
  if (interfaces.length > MAX_INTERFACES || interfaces.some((name) => name === "" || name.length > MAX_NAME)) {
    throw invalidArgument("interfaces", `At most ${MAX_INTERFACES} names of interfaces.`);
  }
  return { intervalSeconds: intervalSeconds || 1, interfaces };
}
