import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import type { StoragePoolReference } from "../../../../agent/libvirt/protocol/structures.ts";
import { STORAGE_POOL_STATES } from "../../../../agent/libvirt/values.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "libvirt", level: "silent" });
const run = promisify(execFile);
const MIB = 1024 * 1024;

describeWithPeers("a volume", "libvirt", () => {
  let daemon: LibvirtDaemon;
  let client: LibvirtClient;
  let pool: StoragePoolReference;
  let directory: string;
  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    client = LibvirtClient.open({ uri: daemon.uri(), log });
    directory = join(daemon.directory, "images");
    await mkdir(directory);
    const xml = `<pool type='dir'><name>images</name><target><path>${directory}</path></target></pool>`;
    ({ pool } = await client.call("storagePoolDefineXml", { xml }));
    await client.call("storagePoolCreate", { pool });
  });
  afterAll(async () => {
    await client?.close();
    await daemon?.close();
  });

  async function volume(name: string, bytes: number) {
    const xml = `<volume><name>${name}</name><capacity unit='bytes'>${bytes}</capacity><target><format type='raw'/></target></volume>`;
    return (await client.call("storageVolCreateXml", { pool, xml })).vol;
  }

  test("lies in a pool whose space is told in bytes", async () => {
    const { state, capacity, available } = await client.call("storagePoolGetInfo", { pool });
    expect(STORAGE_POOL_STATES[state]).toBe("RUNNING");
    expect(capacity).toBeGreaterThan(available);
    const vol = await volume("space.raw", 5 * MIB);
    expect(vol).toEqual({ pool: "images", name: "space.raw", key: join(directory, "space.raw") });
    await client.call("storageVolResize", { vol, capacity: 7 * MIB });
    expect((await client.call("storageVolGetInfo", { vol })).capacity).toBe(7 * MIB);
    await client.call("storageVolDelete", { vol });
    await expect(client.call("storageVolGetInfo", { vol })).rejects.toMatchObject({ codeName: "NO_STORAGE_VOL" });
  });

  test("is uploaded and downloaded, byte for byte, while calls go on", async () => {
    const content = randomBytes(24 * MIB + 12_345);
    const vol = await volume("content.raw", content.length);
    const up = await client.openStream("storageVolUpload", { vol, offset: 0, length: content.length });
    const writing = (async () => {
      for (let at = 0; at < content.length; at += MIB) await up.write(content.subarray(at, at + MIB));
      await up.finish();
    })();
    for (let calls = 0; calls < 100; calls++) await client.call("storagePoolListAllVolumes", { pool });
    await writing;
    expect((await readFile(join(directory, "content.raw"))).equals(content)).toBe(true);

    const packets: Uint8Array[] = [];
    const down = await client.openStream("storageVolDownload", { vol, offset: 0, length: 0 });
    for await (const packet of down) {
      packets.push(packet);
      // A slow reader holds the daemon back.
      if (packets.length % 16 === 0) await client.call("connectGetHostname", {});
    }
    expect(Buffer.concat(packets).equals(content)).toBe(true);

    const part: Uint8Array[] = [];
    for await (const packet of await client.openStream("storageVolDownload", { vol, offset: 1000, length: 5000 })) part.push(packet);
    expect(Buffer.concat(part).equals(content.subarray(1000, 6000))).toBe(true);
  });

  test("that does not take everything is an error of its upload", async () => {
    const vol = await volume("small.raw", MIB);
    const up = await client.openStream("storageVolUpload", { vol, offset: 0, length: 1000 });
    const writing = (async () => {
      for (let piece = 0; piece < 100; piece++) await up.write(Buffer.alloc(MIB));
      await up.finish();
    })();
    await expect(writing).rejects.toMatchObject({ name: "LibvirtError" });
  });

  test("that is not there is an error of the opening", async () => {
    const vol = { pool: "images", name: "none.raw", key: "/none.raw" };
    await expect(client.openStream("storageVolDownload", { vol, offset: 0, length: 0 })).rejects.toMatchObject({
      codeName: "NO_STORAGE_VOL",
    });
  });

  test("leaves no connection behind when its stream is left in the middle", async () => {
    const vol = await volume("left.raw", 8 * MIB);
    for (let round = 0; round < 30; round++) {
      await using down = await client.openStream("storageVolDownload", { vol, offset: 0, length: 0 });
      for await (const _packet of down) break;
    }
    const admin = `libvirtd:///system?socket=${join(daemon.directory, "run", "libvirt-admin-sock")}`;
    await until(async () => {
      const { stdout } = await run("virt-admin", ["-q", "-c", admin, "client-list", "libvirtd"]);
      return stdout.trim().split("\n").length === 1;
    }, "the client's own connection to be the only one");
  });
});
