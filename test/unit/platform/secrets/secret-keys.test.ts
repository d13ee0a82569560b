import { randomBytes } from "node:crypto";
import { appendFile, chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SECRET_KEYS_FILE, SecretKeys } from "../../../../platform/secrets/secret-keys.ts";

let root: string;
let dir: string;
let file: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "fleetgraph-secrets-"));
  dir = join(root, "secrets");
  file = join(dir, SECRET_KEYS_FILE);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const newKey = () => randomBytes(32).toString("base64");
const addKey = () => appendFile(file, `${newKey()}\n`);
const damaged = { code: "FAILED_PRECONDITION", reason: "SecretDamaged" };

describe("keys of stored secrets", () => {
  it("are made once, in a file that only its owner reads, however many processes start at once", async () => {
    const [first, second] = await Promise.all([SecretKeys.open(dir), SecretKeys.open(dir)]);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await second!.open(first!.seal("hunter2", "p"), "p")).toBe("hunter2");
    expect(await (await SecretKeys.open(dir)).open(second!.seal("hunter2", "p"), "p")).toBe("hunter2");
  });

  it("seal the same secret into another box each time, which shows nothing of it", async () => {
    const keys = await SecretKeys.open(dir);
    const boxes = ["", "hunter2", "ключ 🔑", "x".repeat(20_000)].map((secret) => ({ secret, box: keys.seal(secret, "p") }));
    for (const { secret, box } of boxes) {
      expect(await keys.open(box, "p")).toBe(secret);
      expect(keys.seal(secret, "p")).not.toBe(box);
      if (secret !== "") expect(box).not.toContain(Buffer.from(secret).toString("base64url"));
    }
  });

  it("open what an older key sealed, and seal with the last line", async () => {
    const old = await SecretKeys.open(dir);
    const box = old.seal("hunter2", "p");
    await addKey();
    const rotated = await SecretKeys.open(dir);
    expect(await rotated.open(box, "p")).toBe("hunter2");
    expect(rotated.isNewest(box)).toBe(false);
    expect(rotated.isNewest(rotated.seal("hunter2", "p"))).toBe(true);
  });

  it("that others have begun to use are read when they are met", async () => {
    const running = await SecretKeys.open(dir);
    await addKey();
    const restarted = await SecretKeys.open(dir);
    const box = restarted.seal("hunter2", "p");
    expect(await running.open(box, "p")).toBe("hunter2");
    expect(running.isNewest(box)).toBe(true);
  });

  it("that are added at once are all kept, also behind a line that somebody left open", async () => {
    const keys = await SecretKeys.open(dir);
    const box = keys.seal("hunter2", "p");
    await writeFile(file, (await readFile(file, "utf8")).trimEnd());
    await keys.addKey();
    await Promise.all([keys.addKey(), (await SecretKeys.open(dir)).addKey()]);
    expect((await readFile(file, "utf8")).split("\n").filter((line) => /^[^#]/.test(line))).toHaveLength(4);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(keys.isNewest(box)).toBe(false);
    expect(await keys.open(box, "p")).toBe("hunter2");
  });

  it("that are missing are named", async () => {
    const elsewhere = await SecretKeys.open(join(root, "other"));
    const box = elsewhere.seal("hunter2", "p");
    const keys = await SecretKeys.open(dir);
    await expect(keys.open(box, "p")).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SecretKeyMissing",
      details: { keyId: box.split(".")[1] },
    });
  });

  it("refuse every box that was changed, cut, or moved to another place", async () => {
    const keys = await SecretKeys.open(dir);
    const box = keys.seal("hunter2", "registry one");
    await expect(keys.open(box, "registry two")).rejects.toMatchObject(damaged);
    const start = box.lastIndexOf(".") + 1;
    const sealed = Buffer.from(box.slice(start), "base64url");
    for (const [at] of sealed.entries()) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] as number) ^ 1;
      await expect(keys.open(box.slice(0, start) + changed.toString("base64url"), "registry one")).rejects.toMatchObject(damaged);
    }
    for (let length = 0; length < sealed.length; length += 1) {
      const cut = sealed.subarray(0, length).toString("base64url");
      await expect(keys.open(box.slice(0, start) + cut, "registry one")).rejects.toMatchObject(damaged);
    }
    for (const text of ["", "hunter2", `fg2${box.slice(3)}`, `${box}.`, `${box}=`]) {
      await expect(keys.open(text, "registry one")).rejects.toMatchObject(damaged);
      expect(keys.isNewest(text)).toBe(false);
    }
  });

  it("are refused in a file that others can read, that holds something else, or that holds none", async () => {
    await SecretKeys.open(dir);
    await chmod(file, 0o640);
    await expect(SecretKeys.open(dir)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("chmod 600"),
    });
    await chmod(file, 0o600);
    const good = await readFile(file, "utf8");
    for (const line of ["secret", newKey().slice(4), ` ${randomBytes(33).toString("base64")}`]) {
      await writeFile(file, `${good}${line}\n`);
      await expect(SecretKeys.open(dir)).rejects.toMatchObject({ message: expect.stringContaining("Line 4 of") });
    }
    await writeFile(file, "# nothing\n\n");
    await expect(SecretKeys.open(dir)).rejects.toMatchObject({ message: expect.stringContaining("has no key") });
  });
});
