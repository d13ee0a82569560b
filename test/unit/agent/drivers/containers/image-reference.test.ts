import { describe, expect, it, test } from "vitest";
import { imageReference } from "../../../../../agent/drivers/containers/image-reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("an image's name in full", () => {
  test.each([
    ["nginx", "docker.io/library/nginx:latest"],
    ["nginx:1.27", "docker.io/library/nginx:1.27"],
    ["grafana/grafana", "docker.io/grafana/grafana:latest"],
    ["docker.io/nginx", "docker.io/nginx:latest"],
    ["localhost/busybox", "localhost/busybox:latest"],
    ["127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"],
    ["registry.example:5000/x", "registry.example:5000/x:latest"],
    ["[::1]:5000/x", "[::1]:5000/x:latest"],
    ["a/b__c.d-e--f:T_1.x-y", "docker.io/a/b__c.d-e--f:T_1.x-y"],
    [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`],
    [`quay.io/a/b:v1@${DIGEST}`, `quay.io/a/b@${DIGEST}`],
    [DIGEST, DIGEST],
  ])("of %s is %s", (text, full) => {
    expect(imageReference(text)).toBe(full);
  });

  it("is needed", () => {
    expect(() => imageReference("")).toThrow(expect.objectContaining({ reason: "ImageRequired", code: "INVALID_ARGUMENT" }));
  });

  test.each([
    "https://example.org/image.qcow2",
    "docker://nginx",
    "Nginx",
    "nginx:",
    "nginx:-x",
    "nginx:a b",
    "nginx@sha256:12",
    "nginx@latest",
    "/nginx",
    "a//b",
    "../../etc/passwd",
    "example.org/../x",
    "-v.example/x",
    "example.org:123456/x",
    `x/${"a".repeat(600)}`,
    "nginx?tag=x",
    "nginx#x",
    "nginx\n",
  ])("is not %j", (text) => {
    expect(() => imageReference(text)).toThrow(
      expect.objectContaining({ reason: "ImageReferenceInvalid", details: { field: "spec.image" } }),
    );
  });

  it("holds no password, and one that was written into it is not repeated", () => {
    const refused = expect.objectContaining({ reason: "ImageReferenceInvalid", message: expect.not.stringContaining("hunter2") });
    expect(() => imageReference("https://joe:hunter2@example.org/x")).toThrow(refused);
    expect(() => imageReference("joe:hunter2@example.org/x")).toThrow(refused);
  });
});
