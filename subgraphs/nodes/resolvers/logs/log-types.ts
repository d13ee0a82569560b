import { Field, InputType, Int, ObjectType, registerEnumType } from "type-graphql";
import { edgeType } from "../../../kit/graphql/connection.ts";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import { PageInfo } from "../../../kit/graphql/shared-types.ts";
import { LOG_PRIORITIES, type LogPriority } from "../../services/logs/log-input.ts";

export const LogPriorityEnum = enumOf(LOG_PRIORITIES);
registerEnumType(LogPriorityEnum, { name: "LogPriority", description: "As syslog has them, worst first." });

@InputType("NodeLogFilter", { description: "What is null or left out does not filter." })
export class NodeLogFilterInput {
  @Field(() => String, {
    nullable: true,
    description: 'A systemd unit ("libvirtd", "ssh.service"), "kernel", or "qemu": what QEMU writes about each guest.',
  })
  service?: string | null;

  @Field(() => DateTime, { nullable: true })
  since?: Date | null;

  @Field(() => DateTime, { nullable: true })
  until?: Date | null;

  @Field(() => Int, { nullable: true, description: "Instead of `since`: the last so many hours." })
  lastHours?: number | null;

  @Field(() => Int, { nullable: true, description: "Instead of `since`: the last so many days." })
  lastDays?: number | null;

  @Field(() => LogPriorityEnum, { nullable: true, description: "That and worse." })
  priority?: LogPriority | null;

  @Field(() => String, { nullable: true, description: "A part of the message, upper and lower case alike; at most 256 characters." })
  text?: string | null;

  @Field(() => String, { nullable: true, description: 'With the service "qemu": one guest, as libvirt names it.' })
  guestName?: string | null;

  @Field(() => Boolean, { nullable: true, description: "Of this boot only." })
  thisBoot?: boolean | null;
}

@ObjectType("NodeLogEntry", { description: "A line of a host's log.", simpleResolvers: true })
export class NodeLogEntryObject {
  @Field(() => String, { description: "For `after` and `before`." })
  cursor!: string;

  @Field(() => DateTime, { nullable: true, description: "By the host's clock. Null where the log does not tell." })
  time!: Date | null;

  @Field(() => LogPriorityEnum, { nullable: true })
  priority!: LogPriority | null;

  @Field(() => String, { nullable: true, description: 'The systemd unit; "qemu" for a guest\'s log.' })
  unit!: string | null;

  @Field(() => String, { nullable: true, description: "The program's name for itself; of a guest's log, the guest's." })
  identifier!: string | null;

  @Field(() => Int, { nullable: true, description: "Number of the process that wrote it." })
  pid!: number | null;

  @Field(() => String, { description: "At most 16 KiB." })
  message!: string;

  @Field(() => Boolean, { description: "The message was longer." })
  truncated!: boolean;

  @Field(() => String, { nullable: true, description: "Which start of the host it is of." })
  bootId!: string | null;
}

export const NodeLogEdge = edgeType(NodeLogEntryObject, "NodeLogEntry");

@ObjectType("NodeLogConnection", {
  description: "A page of a log, in the order of time. How much there is in all is not counted.",
  simpleResolvers: true,
})
export class NodeLogConnectionObject {
  @Field(() => [NodeLogEntryObject])
  nodes!: NodeLogEntryObject[];

  @Field(() => [NodeLogEdge])
  edges!: Array<{ node: NodeLogEntryObject; cursor: string }>;

  @Field(() => PageInfo)
  pageInfo!: PageInfo;
}

@ObjectType("NodeLogBatch", { description: "Entries that came together, in the order of the log.", simpleResolvers: true })
export class NodeLogBatchObject {
  @Field(() => [NodeLogEntryObject])
  entries!: NodeLogEntryObject[];

  @Field(() => String, { description: "Of the last one: with it as `after` a new subscription goes on behind it." })
  cursor!: string;
}
