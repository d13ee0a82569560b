import type { EntityName, FilterQuery } from "@mikro-orm/core";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { EntityManager } from "../../kit/store/orm.ts";

export interface PageRequest {
  first?: number | null;
  after?: string | null;
}
export interface Page<T> {
  edges: Array<{ node: T; cursor: string }>;
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
  totalCount: number;
}

export async function readPage<T extends { id: string; hostname: string }>(
  em: EntityManager,
  entity: EntityName<T>,
  options: { where: FilterQuery<T>; orderBy: string[]; page: PageRequest },
): Promise<Page<T>> {
  const first = options.page.first ?? 20;
  if (!Number.isInteger(first) || first < 1 || first > 100) throw invalidArgument("first", "From 1 to 100.");
  let position: FilterQuery<T> | null = null;
  if (options.page.after) {
    try {
      const [h, i] = JSON.parse(Buffer.from(options.page.after, "base64url").toString()) as [string, string];
      if (typeof h !== "string" || typeof i !== "string") throw new Error();
      position = { $or: [{ hostname: { $gt: h } }, { hostname: h, id: { $gt: i } }] } as FilterQuery<T>;
    } catch {
      throw invalidArgument("after", "Not a cursor of this list.");
    }
  }
  const where = (position ? { $and: [options.where, position] } : options.where) as FilterQuery<T>;
  const rows = (await em.find(entity, where as never, { orderBy: { hostname: "asc", id: "asc" } as never, limit: first + 1 })) as T[];
  const totalCount = await em.count(entity, options.where as never);
  const edges = rows
    .slice(0, first)
    .map((node) => ({ node, cursor: Buffer.from(JSON.stringify([node.hostname, node.id])).toString("base64url") }));
  return {
    edges,
    totalCount,
    pageInfo: {
      hasNextPage: rows.length > first,
      hasPreviousPage: position !== null,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}
