import { afterAll, beforeAll, expect, it } from "vitest";
import { connection, type ListQuery, tokenPage } from "../../../../subgraphs/kit/pagination.ts";
import type { Store } from "../../../../subgraphs/kit/store/orm.ts";
import { openThings, type TestDatabase, VARIANTS } from "../../../support/event-log-variants.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { Thing, thingId } from "../../../support/things.ts";

const TOTAL = 57;

for (const variant of VARIANTS) {
  const database = variant.name.split(" ")[0] as string;
  describeWithPeers(`pages on ${database}`, variant.peers, () => {
    let temporary: TestDatabase;
    let store: Store;
    const byId: ListQuery<Thing> = { list: "things", entity: Thing };
    const page = (query: ListQuery<Thing>, first?: number | null, after?: string | null) =>
      store.read((em) => connection(em, query, { first, after }));
    const tokens = (query: ListQuery<Thing>, pageSize: number, pageToken: string) =>
      store.read((em) => tokenPage(em, query, { pageSize, pageToken }));

    beforeAll(async () => {
      temporary = await variant.database();
      store = await openThings(temporary.url, "pages");
      await store.transaction(({ em }) =>
        em.insertMany(
          Thing,
          Array.from({ length: TOTAL }, (_, index) => ({
            id: thingId(index),
            // Few values for many rows: the id decides between equals.
            count: index % 5,
            color: ["red", "Äpfel", "blue", "o'clock"][index % 4] as string,
            alive: true,
            changedAt: new Date(1_700_000_000_000 + (index % 7) * 1_001),
          })),
        ),
      );
    });
    afterAll(async () => {
      await store?.close();
      await temporary?.drop();
    });

    it.each([
      { sort: undefined, descending: false },
      { sort: "count", descending: false },
      { sort: "count", descending: true },
      { sort: "color", descending: false },
      { sort: "changedAt", descending: true },
      { sort: "id", descending: true },
    ] as const)("show every row once, in order, on both faces ($sort, descending $descending)", async ({ sort, descending }) => {
      const query: ListQuery<Thing> = { ...byId, sort, descending };
      const direction = descending ? "desc" : "asc";
      const expected = (await store.read((em) => em.find(Thing, {}, { orderBy: [{ [sort ?? "id"]: direction }, { id: direction }] }))).map(
        (thing) => thing.id,
      );
      const seen: string[] = [];
      for (let after: string | null = null, more = true; more; ) {
        const got = await page(query, 10, after);
        expect(got.totalCount).toBe(TOTAL);
        expect(got.pageInfo.hasPreviousPage).toBe(after !== null);
        expect(got.edges.map((edge) => edge.node)).toEqual(got.nodes);
        seen.push(...got.nodes.map((thing) => thing.id));
        after = got.pageInfo.endCursor;
        more = got.pageInfo.hasNextPage;
      }
      expect(seen).toEqual(expected);
      const bySize: string[] = [];
      for (let token = "", first = true; first || token !== ""; first = false) {
        const got = await tokens(query, 16, token);
        bySize.push(...got.items.map((thing) => thing.id));
        token = got.nextPageToken;
      }
      expect(bySize).toEqual(expected);
    });

    it("are 20 long by default and filtered before they are counted", async () => {
      expect((await page(byId)).nodes).toHaveLength(20);
      expect((await page(byId, null, null)).nodes).toHaveLength(20);
      expect((await tokens(byId, 0, "")).items).toHaveLength(20);
      expect((await page(byId, 100)).nodes).toHaveLength(TOTAL);
      const red = await page({ ...byId, where: { color: "red" } }, 5);
      expect(red).toMatchObject({ totalCount: 15, pageInfo: { hasNextPage: true } });
      expect(new Set(red.nodes.map((thing) => thing.color))).toEqual(new Set(["red"]));
      const none = await page({ ...byId, where: { color: "none" } });
      expect(none).toEqual({
        nodes: [],
        edges: [],
        totalCount: 0,
        pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
      });
    });

    it("stay where they are when rows come and go before them", async () => {
      const first = await page(byId, 10);
      await store.transaction(({ em }) => em.nativeDelete(Thing, { id: { $in: [thingId(3), thingId(9)] } }));
      const second = await page(byId, 10, first.pageInfo.endCursor);
      expect(second.nodes[0]?.id).toBe(thingId(10));
      expect(second.totalCount).toBe(TOTAL - 2);
    });

    it("refuse sizes and positions that cannot be, and name the field of the face", async () => {
      const invalid = (field: string) => ({ code: "INVALID_ARGUMENT", details: { field } });
      for (const first of [0, -1, 101, 1.5]) await expect(page(byId, first)).rejects.toMatchObject(invalid("first"));
      for (const size of [-1, 101]) await expect(tokens(byId, size, "")).rejects.toMatchObject(invalid("page_size"));
      const foreign = (await page({ ...byId, list: "others" }, 1)).pageInfo.endCursor as string;
      const otherOrder = (await page({ ...byId, sort: "color" }, 1)).pageInfo.endCursor as string;
      const forged = Buffer.from(JSON.stringify([1, "things", "id", false, { $ne: null }, "x"])).toString("base64url");
      for (const position of [foreign, otherOrder, forged, "%", "bm9wZQ", "x".repeat(5_000)]) {
        await expect(page(byId, 1, position)).rejects.toMatchObject(invalid("after"));
        await expect(tokens(byId, 1, position)).rejects.toMatchObject(invalid("page_token"));
      }
      await expect(page(byId, 1, "")).rejects.toMatchObject(invalid("after"));
    });
  });
}
