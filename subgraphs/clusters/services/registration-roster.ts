import type { EntityManager } from "../../kit/store/orm.ts";
import type { Node } from "../entities/node.ts";

/** Who registers: an agent's id, or null for an admin's hand. */
export type Holder = string | null;

/** The nodes that registrations of one transaction can be about, looked up together. What the transaction adds is found, too. */
export class RegistrationRoster {
  readonly #byId = new Map<string, Node>();
  readonly #byHostname = new Map<string, Node[]>();
  readonly #byRequest = new Map<string, Node>();
  /** Agents all of whose nodes were deregistered, with one of these. */
  readonly #barred: Map<string, string>;

  constructor(nodes: readonly Node[], barred: Map<string, string>) {
    this.#barred = barred;
    for (const node of nodes) this.add(node);
  }

  byId(id: string | null): Node | null {
    return (id !== null && this.#byId.get(id)) || null;
  }

  byRequest(clientRequestId: string | null, holder: Holder): Node | null {
    return (clientRequestId !== null && this.#byRequest.get(requestKey(clientRequestId, holder))) || null;
  }

  inService(hostname: string): Node | null {
    return this.#byHostname.get(hostname)?.find((node) => node.deregisteredAt === null) ?? null;
  }

  /** The holder's own node of that name that was deregistered last. */
  deregistered(hostname: string, holder: Holder): Node | null {
    const own = (this.#byHostname.get(hostname) ?? []).filter((node) => node.deregisteredAt !== null && node.agentId === holder);
    return own.sort((a, b) => Number(b.deregisteredAt) - Number(a.deregisteredAt))[0] ?? null;
  }

  /** The id of a deregistered node for which the agent is refused under any name; null where it may go on. */
  barredBy(holder: Holder): string | null {
    return (holder !== null && this.#barred.get(holder)) || null;
  }

  add(node: Node): void {
    this.#byId.set(node.id, node);
    this.#byHostname.set(node.hostname, [...(this.#byHostname.get(node.hostname) ?? []), node]);
    if (node.clientRequestId !== null) this.#byRequest.set(requestKey(node.clientRequestId, node.agentId), node);
  }

  /** The node has another hostname now. */
  renamed(node: Node, before: string): void {
    this.#byHostname.set(
      before,
      (this.#byHostname.get(before) ?? []).filter((other) => other !== node),
    );
    this.#byHostname.set(node.hostname, [...(this.#byHostname.get(node.hostname) ?? []), node]);
  }
}

function requestKey(clientRequestId: string, holder: Holder): string {
  return JSON.stringify([clientRequestId, holder]);
}

/** Of these agents, those that have deregistered nodes of their own and no others, with one of them. Hosts that they stand for do not count. */
export async function findBarred(em: EntityManager, agentIds: readonly string[]): Promise<Map<string, string>> {
  if (agentIds.length === 0) return new Map();
  const rows = await em.execute<Array<{ agent_id: string; node_id: string }>>(
    `select agent_id, min(id) as node_id from node where agent_id in (${agentIds.map(() => "?").join(", ")})
     and bridged = ? group by agent_id having count(*) = count(deregistered_at)`,
    [...agentIds, false],
  );
  return new Map(rows.map((row) => [row.agent_id, row.node_id]));
}
