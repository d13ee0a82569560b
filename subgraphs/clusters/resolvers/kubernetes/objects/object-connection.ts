import { type ClassType, Field, Int, ObjectType } from "type-graphql";
import { type Edge, edgeType } from "../../../../kit/graphql/connection.ts";
import { PageInfo, WatchEventFields } from "../../../../kit/graphql/shared-types.ts";
import type { ObjectPage } from "../../../services/kubernetes/objects/object-lists.ts";

export interface ObjectConnection<T> extends ObjectPage<T> {
  nodes: T[];
}

/** The GraphQL types `<name>Connection` and `<name>Edge` of a kind of objects. To be called once per kind. */
export function objectConnectionType<T extends object>(nodeType: ClassType<T>, name: string): ClassType<ObjectConnection<T>> {
  const EdgeType = edgeType(nodeType, name);

  @ObjectType(`${name}Connection`, { description: "One page of a list, in the order of namespaces and names.", simpleResolvers: true })
  class ConnectionType implements ObjectConnection<T> {
    @Field(() => [nodeType], { description: "The page's objects, without their cursors." })
    nodes!: T[];

    @Field(() => [EdgeType])
    edges!: Edge<T>[];

    @Field(() => PageInfo)
    pageInfo!: PageInfo;

    @Field(() => Int, {
      nullable: true,
      description: "All that match, on every page; null where the cluster does not tell: with a selector, but for the last page.",
    })
    totalCount!: number | null;

    @Field(() => String, { description: "A watch with it as `after` shows every change since the list was begun, without a gap." })
    watchCursor!: string;
  }

  return ConnectionType;
}

/** The GraphQL type `<name>Event`, with the object under `field`. To be called once per kind. */
export function objectEventType<T extends object>(nodeType: ClassType<T>, name: string, field: string): ClassType<WatchEventFields> {
  @ObjectType(`${name}Event`, { description: `What happened to a ${name} object.`, simpleResolvers: true })
  class EventType extends WatchEventFields {
    @Field(() => nodeType, {
      name: field,
      nullable: true,
      description: "As it was after the event; its last state on DELETED, null on BOOKMARK.",
    })
    object!: T | null;
  }

  return EventType;
}
