import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { checkSources, containerMounts } from "../../../../../agent/drivers/containers/mounts.ts";
import { containerPlan } from "../../../../support/container-plan.ts";

let dir: string;
let root: string;
let outside: string;
beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "fleetgraph-mounts-")));
  root = join(dir, "root");
  outside = join(dir, "root-of-others");
  await mkdir(join(root, "web/html"), { recursive: true });
  await mkdir(outside);
  await writeFile(join(outside, "secret"), "x");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function mounts(name: string, mountPath = "/data", readOnly = false, roots = [root]) {
  return containerMounts("inst-1", containerPlan({ volumeMounts: [{ name, mountPath, readOnly }] }).spec, roots);
}

const refused = (reason: string, message = "") =>
  expect.objectContaining({
    reason,
    message: expect.stringContaining(message),
    details: expect.objectContaining({ field: expect.any(String) }),
  });

describe("a path of the host", () => {
  it("is mounted where it is in an allowed root, or is one", async () => {
    expect(await mounts(join(root, "web/html"), "/var/www/", true)).toEqual([
      { Type: "bind", Source: join(root, "web/html"), Target: "/var/www", ReadOnly: true, BindOptions: { Propagation: "rprivate" } },
    ]);
    expect(await mounts(root)).toMatchObject([{ Source: root, ReadOnly: false }]);
  });

  it("may be a file", async () => {
    await writeFile(join(root, "settings"), "x");
    expect(await mounts(join(root, "settings"), "/etc/settings")).toMatchObject([{ Source: join(root, "settings") }]);
  });

  it("is handed over without links, which may lead anywhere in the roots", async () => {
    await symlink("web", join(root, "current"));
    expect(await mounts(join(root, "current/html"))).toMatchObject([{ Source: join(root, "web/html") }]);
    await symlink(root, join(dir, "link-to-root"));
    expect(await mounts(join(dir, "link-to-root/web"), "/data", false, [join(dir, "link-to-root")])).toMatchObject([
      { Source: join(root, "web") },
    ]);
  });

  it("is refused outside of them, naming them, also where its name begins with a root's", async () => {
    await expect(mounts(outside)).rejects.toThrow(refused("MountNotAllowed", root));
    await expect(mounts(join(root, "../root-of-others"))).rejects.toThrow(refused("MountNotAllowed", root));
    await expect(mounts("/etc")).rejects.toThrow(refused("MountNotAllowed", root));
    await expect(mounts(root, "/data", false, [])).rejects.toThrow(refused("MountNotAllowed", "allows none"));
  });

  it("is refused where a link of it leads out, at its end or before", async () => {
    await symlink(outside, join(root, "escape"));
    await symlink("../..", join(root, "web/up"));
    await expect(mounts(join(root, "escape"))).rejects.toThrow(refused("MountNotAllowed", outside));
    await expect(mounts(join(root, "escape/secret"))).rejects.toThrow(refused("MountNotAllowed", "leads to"));
    await expect(mounts(join(root, "web/up/root-of-others"))).rejects.toThrow(refused("MountNotAllowed"));
  });

  it("is refused where it is not there, and not made", async () => {
    await expect(mounts(join(root, "nothing"))).rejects.toThrow(refused("MountMissing", "is not there"));
    await symlink("nowhere", join(root, "dangling"));
    await expect(mounts(join(root, "dangling"))).rejects.toThrow(refused("MountMissing"));
  });

  it("is refused where it is a socket: that could be the engine's own", async () => {
    const path = join(root, "engine.sock");
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    await expect(mounts(path)).rejects.toThrow(refused("MountNotAllowed", "neither a directory nor a file"));
    await new Promise((resolve) => server.close(resolve));
  });

  it("is looked at again before each start: what has become a link since is not mounted", async () => {
    const source = join(root, "web/html");
    await expect(checkSources([source], [root])).resolves.toBeUndefined();
    await rename(join(root, "web"), join(root, "moved"));
    await symlink(outside, join(root, "web"));
    await mkdir(join(outside, "html"));
    await expect(checkSources([source], [root])).rejects.toThrow(refused("MountNotAllowed", "has become a link"));
  });

  it("is not mounted any more once its root is no longer allowed", async () => {
    await expect(checkSources([join(root, "web")], [outside])).rejects.toThrow(refused("MountNotAllowed"));
  });
});

describe("a plain name", () => {
  it("is a volume of the instance's own, whatever is allowed", async () => {
    expect(await mounts("data", "/var/lib/x", false, [])).toEqual([
      { Type: "volume", Source: "inst-1.data", Target: "/var/lib/x", ReadOnly: false },
    ]);
  });

  test.each(["", ".", "..", "a/b", "../x", "-x", "a b", "a".repeat(64), "a\n"])("is not %j", async (name) => {
    await expect(mounts(name)).rejects.toThrow(refused("MountInvalid"));
  });
});

describe("where it is mounted", () => {
  test.each(["", "data", "/", "//", "/./", "/a/../b", "/..", "/proc", "/proc/sys", "/sys/", "/dev", "/dev//shm", "/a\0b"])(
    "cannot be %j",
    async (path) => {
      await expect(mounts("data", path)).rejects.toThrow(refused("MountInvalid"));
    },
  );

  it("may be beside the container's own, and deep", async () => {
    expect(await mounts("data", "/process")).toMatchObject([{ Target: "/process" }]);
    expect(await mounts("data", "/srv//a/./b/")).toMatchObject([{ Target: "/srv/a/b" }]);
  });

  it("is used once", async () => {
    const twice = ["/data", "/data/"].map((mountPath, index) => ({ name: `v${index}`, mountPath, readOnly: false }));
    await expect(containerMounts("inst-1", containerPlan({ volumeMounts: twice }).spec, [])).rejects.toThrow(
      refused("MountInvalid", "twice"),
    );
  });
});
