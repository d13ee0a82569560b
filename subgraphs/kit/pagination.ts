import type { AnyEntity, EntityClass, EntityName, FilterQuery, QueryOrderMap } from "@mikro-orm/sqlite";
import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { EntityManager } from "./store/orm.ts";

export const DEFAULT_PAGE_SIZE = 20;
export const MAX_PAGE_SIZE = 100;

/** GraphQL's arguments of a connection. */
export interface ConnectionArguments {
  first?: number | null | undefined;
  after?: string | null | undefined;
}

/** gRPC's: 0 and "" are unset. */
export interface TokenArguments {
  pageSize: number;
  pageToken: string;
}

export interface PageInfo {
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  startCursor: string | null;
  endCursor: string | null;
}

export interface Connection<T> {
  nodes: T[];
  edges: Array<{ cursor: string; node: T }>;
  pageInfo: PageInfo;
  /** Of the whole filtered list. */
  totalCount: number;
}

export interface TokenPage<T> {
  items: T[];
  /** "" on the last page. */
  nextPageToken: string;
  totalCount: number;
}

/** What is listed: a filter, and the order by one column that is never null, then by id. */
export interface ListQuery<E extends object> {
  /** Name of the list, such as "nodes": in its cursors, so that those of another list are refused. */
  list: string;
  entity: EntityClass<E> | EntityName<E>;
  where?: FilterQuery<E>;
  /** A column of text, number or date. "id" alone where it is left out. */
  sort?: keyof E & string;
  descending?: boolean;
}

type SortValue = string | number | Date;
type Order<E extends object> = Pick<ListQuery<E>, "list" | "sort" | "descending">;

/** The names of the arguments in the errors of each face. */
const GRAPHQL_FIELDS = { size: "first", cursor: "after" };
const GRPC_FIELDS = { size: "page_size", cursor: "page_token" };

/**
 * One page as a Relay connection: `first` 1–100, 20 where it is left out.
 * @throws FleetError INVALID_ARGUMENT with field "first" or "after".
 */
export async function connection<E extends { id: string }>(
  em: EntityManager,
  query: ListQuery<E>,
  { first, after }: ConnectionArguments,
): Promise<Connection<E>> {
  const size = pageSize(first ?? DEFAULT_PAGE_SIZE, GRAPHQL_FIELDS.size, 1);
  return asConnection(query, await readPage(em, query, size, after ?? null, GRAPHQL_FIELDS.cursor), typeof after === "string");
}

/** Of a list that is in memory: its name, as in ListQuery, and the text that it is ordered by, before the id; both by code units. */
export interface SortedList<T> {
  list: string;
  items: readonly T[];
  sort: keyof T & string;
}

/**
 * One page of what is in memory, in order already. A cursor leads to what comes behind its place in the order, also where the list has
 * changed since.
 * @throws FleetError INVALID_ARGUMENT with field "first" or "after".
 */
export function sortedConnection<T extends { id: string }>(
  { list, items, sort }: SortedList<T>,
  { first, after }: ConnectionArguments,
): Connection<T> {
  const size = pageSize(first ?? DEFAULT_PAGE_SIZE, GRAPHQL_FIELDS.size, 1);
  const order = { list, sort, descending: false };
  const position = typeof after === "string" ? parseCursor<T>(order, after, GRAPHQL_FIELDS.cursor) : null;
  const isBehind = (item: T) =>
    position === null || (item[sort] as string) > position.value || (item[sort] === position.value && item.id > position.id);
  const behind = items.filter(isBehind);
  return asConnection(order, { items: behind.slice(0, size), more: behind.length > size, totalCount: items.length }, position !== null);
}

/**
 * The same page for gRPC: `page_size` 0–100, where 0 means 20.
 * @throws FleetError INVALID_ARGUMENT with field "page_size" or "page_token".
 */
export async function tokenPage<E extends { id: string }>(
  em: EntityManager,
  query: ListQuery<E>,
  { pageSize: asked, pageToken }: TokenArguments,
): Promise<TokenPage<E>> {
  const size = pageSize(asked, GRPC_FIELDS.size, 0) || DEFAULT_PAGE_SIZE;
  const page = await readPage(em, query, size, pageToken === "" ? null : pageToken, GRPC_FIELDS.cursor);
  const last = page.items.at(-1);
  return { items: page.items, nextPageToken: page.more && last ? cursorOf(query, last) : "", totalCount: page.totalCount };
}

interface ReadPage<T> {
  items: T[];
  more: boolean;
  totalCount: number;
}

function asConnection<E extends { id: string }>(order: Order<E>, page: ReadPage<E>, isBehind: boolean): Connection<E> {
  const edges = page.items.map((node) => ({ cursor: cursorOf(order, node), node }));
  return {
    nodes: page.items,
    edges,
    pageInfo: {
      hasNextPage: page.more,
      // Forward paging only: a page behind a cursor has at least that element before it.
      hasPreviousPage: isBehind,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
    totalCount: page.totalCount,
  };
}

function pageSize(size: number, field: string, min: number): number {
  if (!Number.isInteger(size) || size < min)
    throw invalidArgument(field, `A page has at least ${min} entries.`, { min, max: MAX_PAGE_SIZE });
  if (size > MAX_PAGE_SIZE) throw invalidArgument(field, `A page has at most ${MAX_PAGE_SIZE} entries.`, { max: MAX_PAGE_SIZE });
  return size;
}

async function readPage<E extends { id: string }>(
  em: EntityManager,
  query: ListQuery<E>,
  size: number,
  cursor: string | null,
  field: string,
): Promise<ReadPage<E>> {
  const where = (query.where ?? {}) as FilterQuery<AnyEntity>;
  const sort = query.sort ?? "id";
  const direction = query.descending ? "desc" : "asc";
  const behind = cursor === null ? [] : [keysetCondition(query, parseCursor<E>(query, cursor, field))];
  const entity = query.entity as EntityName<AnyEntity>;
  const orderBy = (sort === "id" ? [{ id: direction }] : [{ [sort]: direction }, { id: direction }]) as QueryOrderMap<AnyEntity>[];
  const rows = (await em.find(entity, { $and: [where, ...behind] } as FilterQuery<AnyEntity>, {
    orderBy,
    limit: size + 1,
  })) as unknown as E[];
  // The first page that is not full counts itself.
  const totalCount = cursor === null && rows.length <= size ? rows.length : await em.count(entity, where);
  return { items: rows.slice(0, size), more: rows.length > size, totalCount };
}

function keysetCondition<E extends object>(
  { sort = "id" as keyof E & string, descending }: ListQuery<E>,
  position: { value: SortValue; id: string },
) {
  const behind = descending ? "$lt" : "$gt";
  if (sort === "id") return { id: { [behind]: position.id } };
  return { $or: [{ [sort]: { [behind]: position.value } }, { [sort]: position.value, id: { [behind]: position.id } }] };
}

const VERSION = 1;

function cursorOf<E extends { id: string }>({ list, sort = "id" as keyof E & string, descending }: Order<E>, row: E): string {
  const value = row[sort] as unknown as SortValue;
  const encoded = value instanceof Date ? { date: value.getTime() } : value;
  return Buffer.from(JSON.stringify([VERSION, list, sort, descending === true, encoded, row.id])).toString("base64url");
}

function parseCursor<E extends object>({ list, sort = "id" as keyof E & string, descending }: Order<E>, cursor: string, field: string) {
  const broken = () => invalidArgument(field, "This is not a position that this list has given.");
  let parts: unknown;
  try {
    parts = cursor.length <= 4_000 ? JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) : null;
  } catch {
    throw broken();
  }
  if (!Array.isArray(parts) || parts.length !== 6) throw broken();
  const [version, ofList, ofSort, ofDescending, value, id] = parts as unknown[];
  if (version !== VERSION || typeof id !== "string") throw broken();
  if (ofList !== list || ofSort !== sort || ofDescending !== (descending === true)) {
    throw invalidArgument(field, "This position belongs to another list or order.");
  }
  const sortValue = parseSortValue(value);
  if (sortValue === null) throw broken();
  return { value: sortValue, id };
}

function parseSortValue(value: unknown): SortValue | null {
  if (typeof value === "string" || typeof value === "number") return value;
  const date = (value as { date?: unknown } | null)?.date;
  return typeof date === "number" && Number.isFinite(date) && Math.abs(date) <= 8.64e15 ? new Date(date) : null;
}
