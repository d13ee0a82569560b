import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import type { ProcessContext } from "../process/run-process.ts";

/** What wakes the readers of event logs: NATS where it is configured, for several replicas, else this process alone. */
export function startBus(name: string, { config, log, lifecycle }: ProcessContext): Bus {
  const url = config["nats.url"];
  const bus = url === null ? new InProcessBus() : new NatsBus({ url, name, log });
  lifecycle.onStop("bus", () => bus.close());
  return bus;
}
