import { Field, ObjectType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { EncodedFrame } from "../../services/consoles/encoded-output.ts";
import { ConsoleSessionObject } from "./console-session-type.ts";

@ObjectType("ConsoleOutput", { description: "What a console put out, or a change of its session.", simpleResolvers: true })
export class ConsoleOutputObject implements EncodedFrame {
  @Field(() => Int64, { description: "Of the first byte of data, counted from the session's beginning." })
  offset!: number;

  @Field(() => Int64, { description: "Behind the last byte of data: where to go on after a loss." })
  nextOffset!: number;

  @Field(() => String, { description: "In the encoding that was asked for; empty in a frame that only tells of the session." })
  data!: string;

  @Field(() => Boolean, { description: "True: bytes before `offset` are lost, because they came faster than they were read." })
  skipped!: boolean;

  @Field(() => ConsoleSessionObject, {
    nullable: true,
    description: "In the first frame, and where who types or the size has changed, or the session has ended: then it is the last frame.",
  })
  session!: ConsoleSessionObject | null;

  @Field(() => String, { nullable: true, description: "With an end: what happened, for people." })
  message!: string | null;
}
