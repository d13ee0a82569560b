import { Field, ID, Int, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import type { ConsoleEnd, ConsoleKind } from "../../services/consoles/console-types.ts";
import { ConsoleEndEnum, ConsoleKindEnum } from "./console-enums.ts";

/** `instance` and `node` are resolved: see console-fields.ts. */
@ObjectType("ConsoleSession", {
  description:
    "A console that is open. It lives in its node's agent: it keeps what was put out last, has several viewers and one writer, and outlives their connections for some minutes.",
  simpleResolvers: true,
})
export class ConsoleSessionObject {
  @Field(() => ID)
  id!: string;

  @Field(() => ConsoleKindEnum)
  kind!: ConsoleKind;

  @Field(() => ID, { description: "Of its node." })
  nodeId!: string;

  @Field(() => ID, { nullable: true, description: "Null for a shell." })
  instanceId!: string | null;

  @Field(() => Int, { description: "Of the terminal, in characters." })
  columns!: number;

  @Field(() => Int, { description: "Of the terminal, in characters." })
  rows!: number;

  @Field(() => Boolean, {
    description:
      "False: the terminal has no size of its own (a serial line); the program inside is told by its own means, such as `resize`.",
  })
  resizable!: boolean;

  @Field(() => Boolean, { description: "False: nothing can be typed (a container that was made without an input)." })
  takesInput!: boolean;

  @Field(() => DateTime, { nullable: true, description: "By its host's clock." })
  openedAt!: Date | null;

  @Field(() => String, { description: "The subject of the token that opened it." })
  openedBy!: string;

  @Field(() => String, { nullable: true, description: "The subject that types; null: nobody." })
  writer!: string | null;

  @Field(() => Int, { description: "How many follow its output." })
  viewers!: number;

  @Field(() => Int64, { description: "The oldest byte that is kept, counted from the session's beginning." })
  firstOffset!: number;

  @Field(() => Int64, { description: "The byte that comes next." })
  nextOffset!: number;

  @Field(() => Int64, { description: "The sequence number that the writer's next input is to have." })
  nextSequence!: number;

  @Field(() => ConsoleEndEnum, { nullable: true, description: "Null: it goes on." })
  ended!: ConsoleEnd | null;
}
