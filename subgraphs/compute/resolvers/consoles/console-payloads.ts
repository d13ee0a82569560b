import type { ClassType } from "type-graphql";
import { Field, ObjectType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import { ConsoleSessionObject } from "./console-session-type.ts";

export interface OpenedConsolePayload {
  session: ConsoleSessionObject;
  writable: boolean;
}

/** To be called once per name. */
function openedPayload(name: string): ClassType<OpenedConsolePayload> {
  @ObjectType(name, { simpleResolvers: true })
  class Payload implements OpenedConsolePayload {
    @Field(() => ConsoleSessionObject)
    session!: ConsoleSessionObject;

    @Field(() => Boolean, { description: "Whether the caller types. False: `session.writer` does." })
    writable!: boolean;
  }
  return Payload;
}

export const OpenConsolePayload = openedPayload("OpenConsolePayload");
export const OpenNodeShellPayload = openedPayload("OpenNodeShellPayload");

@ObjectType("WriteConsolePayload", { simpleResolvers: true })
export class WriteConsolePayload {
  @Field(() => Int64, { description: "The sequence number that the next input is to have." })
  nextSequence!: number;

  @Field(() => Boolean, { description: "It was typed before, and not again." })
  repeated!: boolean;
}

export interface ConsoleSessionPayload {
  session: ConsoleSessionObject;
}

/** To be called once per name. */
function sessionPayload(name: string): ClassType<ConsoleSessionPayload> {
  @ObjectType(name, { simpleResolvers: true })
  class Payload implements ConsoleSessionPayload {
    @Field(() => ConsoleSessionObject)
    session!: ConsoleSessionObject;
  }
  return Payload;
}

export const ResizeConsolePayload = sessionPayload("ResizeConsolePayload");
export const CloseConsolePayload = sessionPayload("CloseConsolePayload");
