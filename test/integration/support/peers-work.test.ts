import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DirectQemu } from "../../support/direct-qemu.ts";
import { ImageRegistry } from "../../support/image-registry.ts";
import { ImageServer } from "../../support/image-server.ts";
import { describeInCampaigns } from "../../support/in-campaigns.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { PodmanService } from "../../support/podman-service.ts";
import { SshServer } from "../../support/ssh-server.ts";
import { GUEST_COMMAND_LINE, tinyGuest } from "../../support/tiny-guest.ts";

const run = promisify(execFile);
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJseedseedseedseedseedseedseedseedseedseedsee";

describeInCampaigns("the tiny guest", "tiny-guest", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-seed-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("boots, shows its seed, takes commands and obeys the power button", async () => {
    const { kernel, initrd, bootDisk } = await tinyGuest();
    const seed = join(directory, "seed.img");
    await writeFile(join(directory, "meta-data"), "instance-id: i-1\nlocal-hostname: web-1\n");
    await writeFile(join(directory, "user-data"), `#cloud-config\nssh_authorized_keys:\n  - ${KEY} someone\n`);
    await writeFile(seed, Buffer.alloc(1_440 * 1024));
    await run("mformat", ["-i", seed, "-v", "CIDATA", "-f", "1440", "::"]);
    await run("mcopy", ["-i", seed, join(directory, "user-data"), join(directory, "meta-data"), "::"]);
    await using guest = await DirectQemu.start([
      ...["-M", "q35", "-m", "128", "-kernel", kernel, "-initrd", initrd, "-append", `${GUEST_COMMAND_LINE} said.by=test`],
      ...["-drive", `file=${bootDisk},format=qcow2,if=virtio,snapshot=on`],
      ...["-drive", `file=${seed},format=raw,if=virtio,readonly=on`, "-nic", "user,model=virtio-net-pci"],
    ]);
    await guest.waitFor(`FLEETGRAPH-GUEST-READY ${GUEST_COMMAND_LINE} said.by=test`);
    expect(guest.output).toContain("seed user-data: #cloud-config");
    expect(guest.output).toContain(`FLEETGRAPH-GUEST-KEY ${KEY}`);
    expect(guest.output).toContain("FLEETGRAPH-GUEST-SEED-END web-1");
    expect(guest.output).toContain(`FLEETGRAPH-GUEST-DISK vda ${64 * 1024 * 1024}`);
    await guest.waitFor("FLEETGRAPH-GUEST-ADDRESS eth0 10.0.2.15");
    guest.type("echo six times seven is $((6 * 7))\n");
    await guest.waitFor("six times seven is 42");
    guest.type("busy 0\n");
    await guest.waitFor("busy: done");
    await guest.powerDown();
    await guest.exited;
    expect(guest.output).toContain("FLEETGRAPH-GUEST-POWEROFF");
  });

  it("boots from its own disk as well", async () => {
    const { bootDisk } = await tinyGuest();
    const drive = `file=${bootDisk},format=qcow2,if=virtio,snapshot=on`;
    await using guest = await DirectQemu.start(["-M", "q35", "-m", "128", "-nic", "none", "-drive", drive]);
    await guest.waitFor("guest.booted-from=disk");
    await guest.waitFor("guest# ");
  });

  it("boots as a microVM", async () => {
    const { kernel, initrd, bootDisk } = await tinyGuest();
    await using guest = await DirectQemu.start([
      ...["-M", "microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on", "-global", "virtio-mmio.force-legacy=false", "-m", "128"],
      ...["-kernel", kernel, "-initrd", initrd, "-append", GUEST_COMMAND_LINE],
      ...["-drive", `file=${bootDisk},format=qcow2,if=none,id=disk,snapshot=on`, "-device", "virtio-blk-device,drive=disk"],
    ]);
    await guest.waitFor("FLEETGRAPH-GUEST-READY");
    expect(guest.output).toContain("FLEETGRAPH-GUEST-DISK vda");
    await guest.powerDown();
    await guest.exited;
    expect(guest.output).toContain("FLEETGRAPH-GUEST-POWEROFF");
  });
});

describeWithPeers("the private podman", ["podman", "registry"], () => {
  let registry: ImageRegistry;
  let podman: PodmanService;
  beforeAll(async () => {
    registry = await ImageRegistry.start({ credentials: { username: "tester", password: "only here" } });
    podman = await PodmanService.start({ insecureRegistries: [registry.address] });
    await podman.importBusyboxImage("localhost/busybox:latest");
  });
  afterAll(async () => {
    await podman?.stop();
    await registry?.stop();
  });

  it("runs a container that outlives a killed service", async () => {
    const made = await docker("POST", "/containers/create?name=sleeper", {
      body: { Image: "localhost/busybox:latest", HostConfig: { NetworkMode: "none" } },
    });
    expect(made.status).toBe(201);
    expect((await docker("POST", "/containers/sleeper/start")).status).toBe(204);
    const before = JSON.parse((await docker("GET", "/containers/sleeper/json")).text);
    await podman.kill();
    await podman.start();
    const after = JSON.parse((await docker("GET", "/containers/sleeper/json")).text);
    expect(after.State).toMatchObject({ Running: true, Pid: before.State.Pid });
    expect((await docker("POST", "/containers/sleeper/stop?t=5")).status).toBe(204);
    // The command's trap, not a kill.
    expect(JSON.parse((await docker("GET", "/containers/sleeper/json")).text).State.ExitCode).toBe(143);
  });

  it("pulls from the private registry with the right password only", async () => {
    const name = await registry.push(podman, "localhost/busybox:latest", "library/busybox:1");
    const pull = (password: string) =>
      docker("POST", `/images/create?fromImage=${encodeURIComponent(name)}`, {
        headers: {
          "x-registry-auth": Buffer.from(JSON.stringify({ username: "tester", password, serveraddress: registry.address })).toString(
            "base64",
          ),
        },
      });
    expect((await pull("a guess")).text).toContain("error");
    expect((await docker("GET", `/images/${encodeURIComponent(name)}/json`)).status).toBe(404);
    expect((await pull("only here")).text).not.toContain("error");
    expect((await docker("GET", `/images/${encodeURIComponent(name)}/json`)).status).toBe(200);
  });

  interface Call {
    body?: object;
    headers?: Record<string, string>;
  }
  function docker(method: string, path: string, { body, headers }: Call = {}): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: podman.socketPath,
        method,
        path: `/v1.41${path}`,
        headers: { "content-type": "application/json", ...headers },
        signal: AbortSignal.timeout(20_000),
      });
      call.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.once("end", () => resolve({ status: response.statusCode ?? 0, text })).once("error", reject);
      });
      call.once("error", reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
});

describeWithPeers("the private sshd", "sshd", () => {
  it("lets its key in, and cuts sessions when it is killed", async () => {
    await using server = await SshServer.start();
    const { stdout } = await run("ssh", [...server.clientArguments, "echo", "inside"]);
    expect(stdout).toBe("inside\n");
    const session = spawn("ssh", [...server.clientArguments, "echo open; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    const [said] = (await once(session.stdout, "data")) as [Buffer];
    expect(said.toString()).toBe("open\n");
    const exited = once(session, "exit");
    await server.kill();
    expect(await exited).toEqual([255, null]);
    await server.start();
    expect((await run("ssh", [...server.clientArguments, "echo", "again"])).stdout).toBe("again\n");
  });
});

describe("the image server", () => {
  it("breaks a transfer once and serves the rest by range", async () => {
    await using server = await ImageServer.start();
    const content = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
    const url = server.serve("/disk.img", content, { breakAfterBytes: 70_000, breaks: 1 });
    await expect(fetch(url).then((response) => response.arrayBuffer())).rejects.toThrow();
    const rest = await fetch(url, { headers: { range: "bytes=70000-" } });
    expect([rest.status, rest.headers.get("content-range")]).toEqual([206, "bytes 70000-199999/200000"]);
    expect(Buffer.from(await rest.arrayBuffer())).toEqual(content.subarray(70_000));
    expect(server.requestsFor("/disk.img").map(({ range, sentBytes }) => [range, sentBytes])).toEqual([
      [null, 70_000],
      ["bytes=70000-", 130_000],
    ]);
    expect((await fetch(url, { headers: { range: "bytes=200000-" } })).status).toBe(416);
    expect((await fetch(`${server.url}/other`)).status).toBe(404);
  });
});
