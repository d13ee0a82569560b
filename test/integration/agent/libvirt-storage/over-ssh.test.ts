import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { ImageServer } from "../../../support/image-server.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { SshServer } from "../../../support/ssh-server.ts";
import { planFor, qemuImage, qemuImageInfo, StorageHost } from "../../../support/storage-host.ts";

describeWithPeers("storage of a host that is reached by SSH alone", ["libvirt", "sshd"], () => {
  let host: StorageHost;
  let sshd: SshServer;
  let server: ImageServer;

  beforeAll(async () => {
    host = await StorageHost.start();
    sshd = await SshServer.start({ mountNamespaceOf: host.daemon.pid });
    server = await ImageServer.start();
  });

  afterAll(async () => {
    await server?.stop();
    await sshd?.stop();
    await host?.[Symbol.asyncDispose]();
  });

  it("is the same: an image that the agent fetches, a disk on it, a seed, and their end", async () => {
    const log = createLogger({ name: "test", level: "silent" });
    await using way = openSshHost({
      ...{ host: sshd.address, port: sshd.port, user: sshd.user, hostKeys: [sshd.hostKey], log },
      privateKey: await readFile(sshd.identityFile, "utf8"),
    });
    const client = LibvirtClient.open({ uri: "qemu:///system", host: way, log });
    const signal = AbortSignal.timeout(50_000);
    try {
      await mkdir(host.images);
      await qemuImage(host.images, "create", "-q", "-f", "qcow2", "-o", "preallocation=full", "local.qcow2", "2M");
      const image = await readFile(join(host.images, "local.qcow2"));
      const storage = host.storage({ client, imageUrlPrefixes: [`${server.url}/`] });
      await storage.ensurePools(signal);
      const plan = planFor("inst-remote", { image: server.serve("/disk", image), cloudInit: { userData: "#cloud-config\n" } });
      const prepared = await storage.prepare(plan, () => undefined, signal);
      const info = await qemuImageInfo(prepared.disks[0]?.path ?? "");
      expect((await readFile(info["backing-filename"] ?? "")).equals(image)).toBe(true);
      expect((await readFile(prepared.seed ?? "")).includes("#cloud-config")).toBe(true);
      expect(await storage.existing(plan, signal)).toEqual(prepared);
      await storage.remove("inst-remote", signal);
      expect(await host.instanceFiles()).toEqual([]);
    } finally {
      await client.close();
    }
  });
});
