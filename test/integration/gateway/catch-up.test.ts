import { describe, expect, test } from "vitest";
import { startTestFleet, TRANSPORTS, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket, inField, type SocketOperation } from "../../support/graphql-socket.ts";

const FIRST_SEED = Number(process.env.SEED ?? 1);
const SEEDS = process.env.SEED ? [FIRST_SEED] : Array.from({ length: 8 }, (_, index) => FIRST_SEED + index);

/** mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
  };
}

interface Seen {
  type: string;
  cursor: string;
  host: { id: string; revision: number } | null;
}

const QUERY =
  'subscription($after: String, $snapshot: Boolean) { hostEvents(zone: "a", after: $after, snapshot: $snapshot) { type cursor host { id revision serial } } }';
const show = ({ type, host }: Seen) => `${type} ${host?.id}@${host?.revision}`;
const seqOf = (event: Seen | undefined): number => JSON.parse(Buffer.from(event?.cursor ?? "", "base64url").toString())[0];
const seenBy = (operation: SocketOperation): Seen[] => operation.results.map(({ data }) => data?.["hostEvents"] as Seen);

/**
 * Clients come and go at random moments, from now, from a cursor or with a snapshot, while hosts change, upstreams are lost and tokens are
 * exchanged. In the end each one must have seen exactly what the journal says, from its own beginning on.
 */
describe.each(TRANSPORTS)("Clients that catch up, with subgraphs %s", (transport) => {
  test.each(SEEDS)("each see every event once and in order (SEED=%i)", async (seed) => {
    const random = randomFrom(seed * 7919);
    const roomy = random(2) === 0;
    const fleet = await startTestFleet(transport, {
      bookmarkMs: 40,
      gateway: {
        limits: {
          lagMessages: roomy ? 8_000 : 60,
          lagBytes: 10_000_000,
          upstreamReadAhead: 1 + random(8),
          eventsInFlight: 1 + random(6),
        },
      },
    });
    const journal = fleet.hosts.journal;
    const inZone = (seq: number) => journal.at(seq)?.object.zone === "a";
    const change = () => {
      const id = `h${random(12)}`;
      if (random(8) === 0) fleet.hosts.remove(id);
      else fleet.hosts.put(id, random(4) === 0 ? "b" : "a");
    };
    const pause = () => new Promise((resolve) => setTimeout(resolve, random(12)));
    const clients: { operation: SocketOperation; start: number; kind: "after" | "snapshot" | "now"; socket: GraphQLSocket }[] = [];
    const left: typeof clients = [];
    const cursors: { cursor: string; seq: number }[] = [];
    for (let i = 0; i < 15; i += 1) change();
    try {
      for (let step = 0; step < 60; step += 1) {
        for (let burst = random(random(4) === 0 ? 40 : 5); burst > 0; burst -= 1) {
          change();
          cursors.push({ cursor: journal.cursor(), seq: journal.seq });
        }
        const action = random(10);
        if (action < 4 && clients.length < 12) {
          const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann", { serial: random(1e6) }));
          const from = cursors[cursors.length - 1 - random(Math.min(cursors.length, 50))];
          const kind = random(5);
          if (kind === 0) clients.push({ socket, kind: "now", start: 0, operation: socket.start(QUERY) });
          else if (kind < 3 && from)
            clients.push({ socket, kind: "after", start: from.seq, operation: socket.start(QUERY, { after: from.cursor }) });
          else clients.push({ socket, kind: "snapshot", start: 0, operation: socket.start(QUERY, { snapshot: true }) });
        } else if (action === 4 && clients.length > 2) {
          const [client] = clients.splice(random(clients.length), 1);
          if (client) {
            await client.socket.close();
            left.push(client);
          }
        } else if (action === 5 && fleet.hostsProxy) fleet.hostsProxy.breakConnections();
        else if (action === 6) await fleet.restartHosts();
        if (random(3) > 0) await pause();
      }
      // The last change is visible to all: who has it has everything. A client that asked for "now" may have begun after it.
      const last = fleet.hosts.put("last", "a");
      const lastSeq = journal.seq;
      for (const { operation, kind } of clients) {
        const hasLast = ({ host }: Seen) => host?.id === "last" && host.revision === last.revision;
        const beganLater = (event: Seen) => kind === "now" && event.type === "BOOKMARK" && seqOf(event) >= lastSeq;
        await operation.until(() => operation.end !== null || seenBy(operation).some((event) => hasLast(event) || beganLater(event)));
      }
      for (const { operation, kind, start } of [...clients, ...left]) {
        const complete = operation.end === null;
        const seen = seenBy(operation);
        const code = operation.end?.errors[0]?.extensions["code"];
        // With the smallest queues a client may be told that it is too slow; what it got until then is still exact.
        // And one that began with "now" may be told to subscribe again, where "now" was lost before anything told where that is.
        const allowed = [undefined, ...(roomy ? [] : ["SLOW_CONSUMER"]), ...(kind === "now" ? ["UNAVAILABLE"] : [])];
        expect(allowed, JSON.stringify(operation.end)).toContain(code);
        const expected: string[] = [];
        let from = start;
        let events = seen.filter(({ type }) => type !== "BOOKMARK");
        if (kind === "now") from = events[0] ? seqOf(events[0]) - 1 : lastSeq;
        if (kind === "snapshot") {
          const end = seen.findIndex(({ type }) => type === "BOOKMARK");
          const snapshot = end < 0 ? seen : seen.slice(0, end);
          events = end < 0 ? [] : seen.slice(end).filter(({ type }) => type !== "BOOKMARK");
          from = end < 0 ? lastSeq : seqOf(seen[end]);
          const existing = journal.existing(from).filter(({ object }) => object.zone === "a");
          if (end >= 0)
            expect(snapshot.map(show)).toEqual(
              existing.map(({ id, object }) => show({ type: "ADDED", cursor: "", host: { ...object, id } })),
            );
          expect(new Set(snapshot.map(({ type }) => type))).toEqual(snapshot.length > 0 ? new Set(["ADDED"]) : new Set());
        }
        for (let seq = from + 1; seq <= lastSeq; seq += 1) {
          const entry = journal.at(seq);
          if (entry && inZone(seq)) expected.push(show({ type: entry.type, cursor: "", host: entry.object }));
        }
        const wanted = complete ? expected : expected.slice(0, events.length);
        expect(events.map(show), `SEED=${seed}, ${kind} from ${from}`).toEqual(wanted);
      }
      // Everybody ends up on one upstream.
      if (clients.some(({ operation }) => operation.end === null)) {
        await eventually(() => {
          change();
          return journal.watching === 1;
        });
      }
      await Promise.all(clients.map(({ socket }) => socket.close()));
      await eventually(() => journal.watching === 0);
    } finally {
      await fleet.stop();
    }
  });
});

test("a snapshot of any length needs no queue: a client that reads slowly gets all of it", async () => {
  const fleet = await startTestFleet("over HTTP", { gateway: { limits: { lagMessages: 50, lagBytes: 50_000, socketBufferBytes: 4_096 } } });
  try {
    for (let i = 0; i < 2_000; i += 1) fleet.hosts.put(`h${String(i).padStart(5, "0")}`);
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start(`subscription { hostEvents(snapshot: true) { type host { id name ${"x".repeat(1_000)}: name } } }`);
    for (let pauses = 0; pauses < 5; pauses += 1) {
      await operation.received(1 + pauses * 200);
      socket.socket.pause();
      await new Promise((resolve) => setTimeout(resolve, 60));
      socket.socket.resume();
    }
    const results = await operation.received(2_001, 40_000);
    expect(new Set(results.slice(0, 2_000).map(({ data }) => inField<Seen>({ data }, "hostEvents").host?.id)).size).toBe(2_000);
    expect(inField<Seen>(results[2_000], "hostEvents").type).toBe("BOOKMARK");
    await socket.close();
  } finally {
    await fleet.stop();
  }
});
