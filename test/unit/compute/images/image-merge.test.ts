import { expect, test } from "vitest";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat, NodeImage } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { mergeImages } from "../../../../subgraphs/compute/services/images/image-merge.ts";
import { sortedConnection } from "../../../../subgraphs/kit/pagination.ts";

const image = (id: string, names: string[], more: Partial<NodeImage> = {}) =>
  NodeImage.fromPartial({ id, names, type: InstanceType.CONTAINER, format: ImageFormat.OCI, sizeBytes: 10, ...more });
const at = (day: number) => new Date(Date.UTC(2026, 0, day));

test("images of several hosts are one by their id, with all names and all hosts", () => {
  const merged = mergeImages([
    { nodeId: "node-2", images: [image("sha256:b", ["b:1"], { sizeBytes: 12, createdAt: at(2), inUse: true }), image("", ["none"])] },
    {
      nodeId: "node-1",
      images: [
        image("sha256:b", ["b:latest", "b:1"], { createdAt: at(1), pulledAt: at(3) }),
        image("sha256:b", ["a:1"]),
        image("sha256:c", []),
        image("sha256:d", ["disk"], { type: InstanceType.VM, format: ImageFormat.RAW, virtualSizeBytes: 99 }),
      ],
    },
  ]);
  expect(merged.map(({ id, name, names }) => ({ id, name, names }))).toEqual([
    { id: "sha256:b", name: "a:1", names: ["a:1", "b:1", "b:latest"] },
    { id: "sha256:d", name: "disk", names: ["disk"] },
    { id: "sha256:c", name: "sha256:c", names: [] },
  ]);
  expect(merged[0]).toMatchObject({ type: "CONTAINER", format: "OCI", sizeBytes: 12, virtualSizeBytes: null, createdAt: at(1) });
  expect(merged[0]?.nodes).toEqual([
    { nodeId: "node-1", sizeBytes: 10, pulledAt: at(3), lastUsedAt: null, inUse: false, managed: false },
    { nodeId: "node-2", sizeBytes: 12, pulledAt: null, lastUsedAt: null, inUse: true, managed: false },
  ]);
  expect(merged[1]).toMatchObject({ type: "VM", format: "RAW", virtualSizeBytes: 99 });
});

test("a list in memory is paged by what it is ordered by, also where it changes between two pages", () => {
  const items = ["a", "b", "b", "c", "d"].map((name, index) => ({ id: `id-${index}`, name }));
  const page = (list: typeof items, after: string | null, first = 2) =>
    sortedConnection({ list: "things", items: list, sort: "name" }, { first, after });
  const first = page(items, null);
  expect(first.nodes.map(({ id }) => id)).toEqual(["id-0", "id-1"]);
  expect(first).toMatchObject({ totalCount: 5, pageInfo: { hasNextPage: true, hasPreviousPage: false } });
  const changed = items.filter(({ id }) => id !== "id-1");
  const second = page(changed, first.pageInfo.endCursor);
  expect(second.nodes.map(({ id }) => id)).toEqual(["id-2", "id-3"]);
  const last = page(changed, second.pageInfo.endCursor);
  expect(last.nodes.map(({ id }) => id)).toEqual(["id-4"]);
  expect(last.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
  expect(page(items, last.pageInfo.endCursor).nodes).toEqual([]);
  for (const [size, after, field] of [
    [0, null, "first"],
    [101, null, "first"],
    [2, "rubbish", "after"],
  ] as const) {
    try {
      page(items, after, size);
      expect.unreachable();
    } catch (error) {
      expect((error as FleetError).details["field"]).toBe(field);
    }
  }
  const elsewhere = sortedConnection({ list: "others", items, sort: "name" }, { first: 1 });
  expect(() => page(items, elsewhere.pageInfo.endCursor)).toThrow(/another list/);
});
