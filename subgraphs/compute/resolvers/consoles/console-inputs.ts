import { Field, ID, InputType, Int } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";

const TERMINAL =
  "Tells the user's own terminals apart, up to 128 characters: made up at random by each. Only one of them types, and counts its input. Left out: all terminals of a user without one are the same writer.";

@InputType("OpenConsoleInput")
export class OpenConsoleInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Int, {
    nullable: true,
    description: "Of the terminal, 1–1000; 80 where left out. Of a session that is joined only where the caller types.",
  })
  columns?: number | null;

  @Field(() => Int, { nullable: true, description: "Of the terminal, 1–1000; 24 where left out." })
  rows?: number | null;

  @Field(() => Boolean, { nullable: true, description: "Types from now on, also where somebody else does so far." })
  takeOver?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "Only follows: never becomes the writer." })
  readOnly?: boolean | null;

  @Field(() => String, { nullable: true, description: TERMINAL })
  terminalId?: string | null;
}

@InputType("OpenNodeShellInput")
export class OpenNodeShellInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => Int, { nullable: true, description: "Of the terminal, 1–1000; 80 where left out." })
  columns?: number | null;

  @Field(() => Int, { nullable: true, description: "Of the terminal, 1–1000; 24 where left out." })
  rows?: number | null;

  @Field(() => String, { nullable: true, description: TERMINAL })
  terminalId?: string | null;
}

@InputType("WriteConsoleInput")
export class WriteConsoleInput {
  @Field(() => ID)
  sessionId!: string;

  @Field(() => Int64, {
    nullable: true,
    description:
      "Counts this writer's inputs from 1 on: one that is sent again, because its answer was lost, is not typed again. FAILED_PRECONDITION, reason InputGap (`expected`) where one before is missing. Left out: not counted, and never to be sent again.",
  })
  sequence?: number | null;

  @Field(() => String, { nullable: true, description: "Bytes in base64 (RFC 4648), up to 64 KiB. Either this or `text`." })
  data?: string | null;

  @Field(() => String, { nullable: true, description: "Typed as UTF-8, up to 64 KiB." })
  text?: string | null;

  @Field(() => Boolean, { nullable: true, description: "Also where somebody else types so far. With it, data may be empty." })
  takeOver?: boolean | null;

  @Field(() => String, { nullable: true, description: TERMINAL })
  terminalId?: string | null;
}

@InputType("ResizeConsoleInput")
export class ResizeConsoleInput {
  @Field(() => ID)
  sessionId!: string;

  @Field(() => Int, { description: "1–1000." })
  columns!: number;

  @Field(() => Int, { description: "1–1000." })
  rows!: number;

  @Field(() => String, { nullable: true, description: TERMINAL })
  terminalId?: string | null;
}

@InputType("CloseConsoleInput")
export class CloseConsoleInput {
  @Field(() => ID)
  sessionId!: string;
}
