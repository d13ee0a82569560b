import { describe, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import {
  decodeListCursor,
  encodeListCursor,
  type ListIdentity,
} from "../../../../subgraphs/clusters/services/kubernetes/objects/list-cursor.ts";
import { LogLines, MAX_LINE, NewestLines } from "../../../../subgraphs/clusters/services/kubernetes/objects/log-lines.ts";
import { checkObjectFilter } from "../../../../subgraphs/clusters/services/kubernetes/objects/object-filter.ts";
import { checkPodLogRequest } from "../../../../subgraphs/clusters/services/kubernetes/objects/pod-log-input.ts";
import { parseQuantity } from "../../../../subgraphs/clusters/services/kubernetes/objects/quantities.ts";
import { checkFieldSelector, checkLabelSelector } from "../../../../subgraphs/clusters/services/kubernetes/objects/selectors.ts";

function refusal(check: () => unknown): { code: string; field: unknown } {
  try {
    check();
  } catch (error) {
    if (error instanceof FleetError) return { code: error.code, field: error.details.field };
    throw error;
  }
  return { code: "accepted", field: null };
}

const refusedAt = (field: string) => ({ code: "INVALID_ARGUMENT", field });

test.each([
  ["4", 4],
  ["500m", 0.5],
  ["100m", 0.1],
  ["1.5", 1.5],
  [".5", 0.5],
  ["16Gi", 16 * 1024 ** 3],
  ["128974848", 128_974_848],
  ["129e6", 129e6],
  ["129M", 129e6],
  ["123Mi", 123 * 1024 ** 2],
  ["1E", 1e18],
  ["2k", 2_000],
  ["5u", 5e-6],
  ["-1", -1],
  ["", null],
  ["many", null],
  ["1KiB", null],
  ["1 Gi", null],
])("the quantity %s", (text, number) => {
  expect(parseQuantity(text)).toBe(number);
});

describe("a label selector", () => {
  test.each([
    "app=web",
    "app==web,tier!=cache",
    "app.kubernetes.io/name=prometheus",
    "env in (prod, staging),!old",
    "env notin (a,b),app",
    "app=",
    "replicas>3,weight < 10",
  ])("%s is one", (selector) => {
    expect(checkLabelSelector("labelSelector", `  ${selector} `)).toBe(selector);
  });

  test.each([
    "=web",
    "app web",
    "app=a b",
    "app in (a",
    "app in a)",
    "app=web,",
    "a=b&limit=1",
    "app=web\nx",
    "/name",
    "app>x",
    "-a=b",
    `${"a".repeat(64)}=b`,
  ])("%j is none", (selector) => {
    expect(refusal(() => checkLabelSelector("labelSelector", selector))).toEqual(refusedAt("labelSelector"));
  });

  test("is bounded, and nothing where it is empty", () => {
    expect(refusal(() => checkLabelSelector("labelSelector", Array(600).fill("a").join(",")))).toEqual(refusedAt("labelSelector"));
    expect(checkLabelSelector("labelSelector", "  ")).toBeNull();
    expect(checkLabelSelector("labelSelector", null)).toBeNull();
  });

  test("that was made to take exponential time is judged like any other", () => {
    for (const part of ["a in (", "a=", "a/"]) {
      expect(refusal(() => checkLabelSelector("labelSelector", `${part}${"a".repeat(1_000)}(`))).toEqual(refusedAt("labelSelector"));
    }
  });
});

describe("a field selector", () => {
  test.each(["status.phase=Running", "metadata.name!=a,spec.nodeName==worker-1", "involvedObject.name=", "reason=a\\,b"])(
    "%s is one",
    (selector) => {
      expect(checkFieldSelector("fieldSelector", selector)).toBe(selector);
    },
  );

  test.each(["status.phase", "=a", "a=b=c", "a=b,,c=d", "a in (b)"])("%s is none", (selector) => {
    expect(refusal(() => checkFieldSelector("fieldSelector", selector))).toEqual(refusedAt("fieldSelector"));
  });
});

test.each(["Shop", "a/b", "../x", "a".repeat(64), "-a"])("%s is no namespace", (namespace) => {
  expect(refusal(() => checkObjectFilter({ namespace }))).toEqual(refusedAt("namespace"));
});

describe("a list's cursor", () => {
  const identity: ListIdentity = {
    clusterId: "k8s-1",
    revision: 3,
    kind: "pods",
    filter: { namespace: "shop", labelSelector: null, fieldSelector: null },
  };
  const position = { token: "abc", at: null, before: 40, skip: 2 };
  const cursor = encodeListCursor(identity, position);

  test("leads back to its place", () => {
    expect(decodeListCursor(identity, cursor)).toEqual(position);
  });

  test.each<[string, Partial<ListIdentity>]>([
    ["cluster", { clusterId: "k8s-2" }],
    ["kind", { kind: "services" }],
    ["filter", { filter: { ...identity.filter, labelSelector: "app=web" } }],
  ])("is of no use for another %s", (_what, other) => {
    expect(refusal(() => decodeListCursor({ ...identity, ...other }, cursor))).toEqual(refusedAt("after"));
  });

  test("has expired where the cluster's access was changed", () => {
    expect(refusal(() => decodeListCursor({ ...identity, revision: 4 }, cursor)).code).toBe("CURSOR_EXPIRED");
  });

  test.each(["", "x", "bnVsbA", Buffer.from("[1]").toString("base64url"), "a".repeat(5_000)])("%# is none", (text) => {
    expect(refusal(() => decodeListCursor(identity, text))).toEqual(refusedAt("after"));
  });

  test("that somebody changed is none", () => {
    const parts = JSON.parse(Buffer.from(cursor, "base64url").toString()) as unknown[];
    for (const [index, value] of [
      [3, 7],
      [4, "1&limit=9"],
      [5, -1],
      [6, 0.5],
    ] as const) {
      const changed = Buffer.from(JSON.stringify(parts.with(index, value))).toString("base64url");
      expect(refusal(() => decodeListCursor(identity, changed))).toEqual(refusedAt("after"));
    }
  });
});

describe("lines of a log", () => {
  test("come whole, wherever the bytes were cut", () => {
    const text = "first\nzweite Zeile: ü€😀\r\n\nlast without an end";
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const lines = new LogLines();
      const all = [...lines.push(bytes.subarray(0, cut)), ...lines.push(bytes.subarray(cut)), ...lines.end()];
      expect(all).toEqual(["first", "zweite Zeile: ü€😀", "", "last without an end"]);
    }
  });

  test("are cut where they are too long, and hold no more than that", () => {
    const lines = new LogLines();
    for (let part = 0; part < 100; part += 1) expect(lines.push(Buffer.alloc(MAX_LINE / 4, "a"))).toEqual([]);
    expect(lines.push(Buffer.from("b\nnext\n"))).toEqual(["a".repeat(MAX_LINE), "next"]);
    expect(lines.truncated).toBe(1);
  });

  test("are the newest ones where there are too many", () => {
    const newest = new NewestLines(10);
    newest.push(["aaaa", "bbbb"]);
    expect(newest.truncated).toBe(false);
    newest.push(["cccc"]);
    expect(newest.lines()).toEqual(["bbbb", "cccc"]);
    expect(newest.truncated).toBe(true);
    newest.push(["longer than all of it"]);
    expect(newest.lines()).toEqual(["longer than all of it"]);
  });
});

test("a request for a log is checked", () => {
  const request = { namespace: "shop", pod: "web-1" };
  expect(checkPodLogRequest(request)).toEqual({
    ...request,
    container: null,
    tailLines: 200,
    sinceSeconds: null,
    previous: false,
    timestamps: false,
  });
  expect(refusal(() => checkPodLogRequest({ ...request, tailLines: 5_001 }))).toEqual(refusedAt("tailLines"));
  expect(refusal(() => checkPodLogRequest({ ...request, sinceSeconds: 0 }))).toEqual(refusedAt("sinceSeconds"));
  expect(refusal(() => checkPodLogRequest({ ...request, pod: "../../secrets/x" }))).toEqual(refusedAt("pod"));
  expect(refusal(() => checkPodLogRequest({ ...request, container: "a b" }))).toEqual(refusedAt("container"));
});
