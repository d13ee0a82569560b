import { Field, Float, ID, ObjectType } from "type-graphql";
import { unavailableReason } from "../../kit/agents/node-record.ts";
import { DateTime, Int64 } from "../../kit/graphql/scalars.ts";
import type { StatsOutcome } from "../services/stats-reads.ts";

@ObjectType("UnavailableReading", { description: "A reading that is null, and why.", simpleResolvers: true })
export class UnavailableReadingObject {
  @Field(() => String)
  field!: string;

  @Field(() => String, {
    description:
      "One word: INSTANCE_NOT_RUNNING, INSTANCE_UNMANAGED, NODE_OFFLINE, AGENT_TIMEOUT, AGENT_UNREACHABLE, NO_AGENT, TOO_MANY_CALLS. More may come.",
  })
  reason!: string;

  @Field(() => String, { description: "A sentence, for people." })
  message!: string;
}

@ObjectType("InstanceStats", {
  description: "What an instance uses. Counters begin anew when it starts.",
  simpleResolvers: true,
})
export class InstanceStatsObject {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Float, { nullable: true, description: "0–100 of the instance's own cores, since the reading before." })
  cpuUsagePercent!: number | null;

  @Field(() => Int64, { nullable: true, description: "CPU time since it started, in nanoseconds." })
  cpuTimeNs!: number | null;

  @Field(() => Int64, { nullable: true, description: "In bytes." })
  memoryUsageBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Of that, what can be given up, in bytes." })
  memoryCacheBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes since it started." })
  diskReadBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes since it started." })
  diskWriteBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes received since it started." })
  networkRxBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes sent since it started." })
  networkTxBytes!: number | null;

  @Field(() => DateTime, { nullable: true, description: "When it was read, by its host's clock." })
  collectedAt!: Date | null;

  @Field(() => [UnavailableReadingObject], { description: "Why readings are null." })
  unavailable!: UnavailableReadingObject[];
}

const READINGS = [
  "cpuUsagePercent",
  "cpuTimeNs",
  "memoryUsageBytes",
  "memoryCacheBytes",
  "diskReadBytes",
  "diskWriteBytes",
  "networkRxBytes",
  "networkTxBytes",
  "collectedAt",
] as const;

export function toStatsObject(instanceId: string, outcome: StatsOutcome): InstanceStatsObject {
  if ("stats" in outcome) {
    const { cpuUsagePercent, collectedAt, ...counters } = outcome.stats;
    // A float on the wire, where 12.3 is 12.300000190734863.
    return { ...counters, cpuUsagePercent: Math.round(cpuUsagePercent * 100) / 100, collectedAt: collectedAt ?? null, unavailable: [] };
  }
  const { refusal } = outcome;
  const reason = unavailableReason(refusal);
  const nothing = Object.fromEntries(READINGS.map((field) => [field, null])) as { [K in (typeof READINGS)[number]]: null };
  return { instanceId, ...nothing, unavailable: READINGS.map((field) => ({ field, reason, message: refusal.message })) };
}
