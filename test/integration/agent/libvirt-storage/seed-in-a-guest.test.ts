import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cloudInitSeed } from "../../../../agent/drivers/libvirt/storage/cloud-init-seed.ts";
import { DirectQemu } from "../../../support/direct-qemu.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { GUEST_COMMAND_LINE, tinyGuest } from "../../../support/tiny-guest.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGfF me@here";

describeWithPeers("a cloud-init seed, in a guest", "tiny-guest", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-seed-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("is found by its label, and Linux reads it by each of its three kinds of names", async () => {
    // More than a sector of user data, so that files lie behind each other.
    const userData = `#cloud-config\n${"# line\n".repeat(500)}runcmd: [last]\n`;
    const seed = join(directory, "seed.iso");
    await writeFile(seed, cloudInitSeed("inst-abc", "Web 1", { userData, sshAuthorizedKeys: [KEY] }));
    const { kernel, initrd } = await tinyGuest();
    const drive = ["-drive", `file=${seed},format=raw,if=virtio,readonly=on`];
    const boot = ["-kernel", kernel, "-initrd", initrd, "-append", GUEST_COMMAND_LINE];
    await using guest = await DirectQemu.start(["-M", "q35", "-m", "192", "-nic", "none", ...boot, ...drive]);
    await guest.waitFor("FLEETGRAPH-GUEST-READY");
    expect(guest.output).toMatch(/FLEETGRAPH-GUEST-SEED vda iso9660/);
    expect(guest.output).toMatch(/seed meta-data: instance-id: inst-abc/);
    expect(guest.output).toMatch(/FLEETGRAPH-GUEST-SEED-END web-1/);
    expect(guest.output).toContain(`FLEETGRAPH-GUEST-KEY ${KEY.slice(0, KEY.lastIndexOf(" "))}`);
    // Rock Ridge, Joliet, and the format's own.
    for (const [index, options] of ["ro", "ro,norock", "ro,norock,nojoliet"].entries()) {
      const read = "ls | tr '\\n' ' '; wc -c <user-data; tail -n 1 user-data";
      guest.type(
        `mkdir -p /s; mount -t iso9660 -o ${options} /dev/vda /s; cd /s; ${read}; cd /; umount /s; echo done-$((${index} + 10))\n`,
      );
      await guest.waitFor(`done-${index + 10}`);
    }
    const found = guest.output.match(/meta-data user-data \d+\r?\nruncmd: \[last\]/g) ?? [];
    expect(found.map((text) => Number(/\d+/.exec(text)?.[0]))).toEqual([userData.length, userData.length, userData.length]);
  });
});
