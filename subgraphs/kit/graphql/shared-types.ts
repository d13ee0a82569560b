import "reflect-metadata";
import { Directive, Field, InputType, ObjectType, registerEnumType } from "type-graphql";
import { DateTime } from "./scalars.ts";

/** Where a page of a connection lies in its list. */
@ObjectType({ description: "Where a page lies in its list.", simpleResolvers: true })
@Directive("@shareable")
export class PageInfo {
  @Field(() => Boolean, { description: "More follow behind `endCursor`." })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: "There is something before `startCursor`." })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: "The cursor of the page's first edge; null on an empty page." })
  startCursor!: string | null;

  @Field(() => String, { nullable: true, description: "The cursor of the page's last edge, for `after`; null on an empty page." })
  endCursor!: string | null;
}

export enum EventType {
  ADDED = "ADDED",
  MODIFIED = "MODIFIED",
  DELETED = "DELETED",
  BOOKMARK = "BOOKMARK",
}

registerEnumType(EventType, {
  name: "EventType",
  description: "What happened to an object that is watched.",
  valuesConfig: {
    ADDED: { description: "It exists now, or now matches the filter." },
    MODIFIED: { description: "It has changed." },
    DELETED: { description: "It is gone, or no longer matches the filter; the object is its last state." },
    BOOKMARK: { description: "Nothing happened up to this cursor. There is no object." },
  },
});

/** One entry of a map, on the way out. */
@ObjectType({ description: "One entry of a map.", simpleResolvers: true })
@Directive("@shareable")
export class KeyValue {
  @Field(() => String)
  key!: string;

  @Field(() => String)
  value!: string;
}

/** One entry of a map, on the way in. */
@InputType({ description: "One entry of a map. A key may occur once." })
export class KeyValueInput {
  @Field(() => String)
  key!: string;

  @Field(() => String)
  value!: string;
}

/**
 * What every event of a watch has; an event class extends it with its object under the object's own name.
 * Never in a schema by itself.
 */
@ObjectType("WatchEvent", { simpleResolvers: true })
export abstract class WatchEventFields {
  @Field(() => EventType)
  type!: EventType;

  @Field(() => DateTime, { description: "When the change was stored." })
  timestamp!: Date;

  @Field(() => String, { description: "Pass it as `after` to go on behind this event, without gap or repeat." })
  cursor!: string;
}
