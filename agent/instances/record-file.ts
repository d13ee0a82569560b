import { z } from "zod";
import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { Progress } from "./progress.ts";
import type { InstanceRecord, Tombstone } from "./take-desired.ts";

/** Longest file that is written and read; what a control plane may say about an instance is bounded far below it. */
export const MAX_RECORD_BYTES = 2 * 1024 * 1024;

const count = z.number().int().min(0);
const time = z.number().int();

const shown = z.object({
  state: z.enum(InstanceState),
  reason: z.string(),
  message: z.string(),
  exitCode: z.number().int().nullable(),
});

const progress: z.ZodType<Progress> = z.object({
  goal: z.enum(["RUNNING", "STOPPED", "SUSPENDED", "DELETED"]),
  reached: z.boolean(),
  made: z.boolean(),
  making: z.boolean(),
  leftover: z.boolean(),
  nativeId: z.string(),
  size: z.string(),
  restarts: count,
  stopping: z.object({ askedAt: time.nullable(), until: time, timedOut: z.boolean() }).nullable(),
  killedAt: time.nullable(),
  starting: z.object({ before: time.nullable(), restarts: count }).nullable(),
  failure: z
    .object({
      step: z.enum(["create", "adopt", "start", "requestStop", "kill", "suspend", "resume", "resize", "remove"]),
      reason: z.string(),
      message: z.string(),
      native: z.string(),
    })
    .nullable(),
  bootId: z.string(),
  up: z.boolean(),
  shown,
});

/** The rest is read as protobuf's JSON form is: what is not there has its default. */
const desired = z
  .looseObject({ nodeId: z.string().min(1), instanceId: z.string().min(1), desiredState: z.string() })
  .transform((json) => ApplyInstanceRequest.fromJSON(json));

const tombstone: z.ZodType<Tombstone> = z.object({
  instanceId: z.string().min(1),
  nodeId: z.string(),
  generation: count,
  revision: count,
  deletedAt: time,
});

const file = z.union([z.object({ version: z.literal(1), desired, progress }), z.object({ version: z.literal(1), tombstone })]);

export type StoredInstance = { record: InstanceRecord } | { tombstone: Tombstone };

export function recordText(stored: StoredInstance): string {
  const content =
    "record" in stored
      ? { version: 1, desired: ApplyInstanceRequest.toJSON(stored.record.desired), progress: stored.record.progress }
      : { version: 1, tombstone: stored.tombstone };
  return `${JSON.stringify(content, null, 1)}\n`;
}

/** Throws for a text that `recordText` did not write for this instance. */
export function parseRecord(text: string, instanceId: string): StoredInstance {
  const content = file.parse(JSON.parse(text));
  const stored: StoredInstance =
    "tombstone" in content ? { tombstone: content.tombstone } : { record: { desired: content.desired, progress: content.progress } };
  const found = "record" in stored ? stored.record.desired.instanceId : stored.tombstone.instanceId;
  if (found !== instanceId) throw new Error(`it is about ${found}`);
  return stored;
}
