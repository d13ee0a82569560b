import { spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "libvirt", level: "silent" });
const NOBODY = 65_534;

describeWithPeers("a user's own libvirtd", "libvirt", () => {
  test("is found in the user's directory, and waited for", async () => {
    const home = await mkdtemp(join(tmpdir(), "fg-session-"));
    onTestFinished(() => rm(home, { recursive: true, force: true }));
    const runtime = join(home, "runtime");
    await mkdir(runtime);
    await Promise.all([home, runtime].map((directory) => chown(directory, NOBODY, NOBODY)));

    const client = LibvirtClient.open({ uri: "qemu:///session", sessionDirectory: join(runtime, "libvirt"), log });
    onTestFinished(() => client.close());
    await until(() => client.lastError !== undefined, "the first attempt");
    expect(client.lastError).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("no such socket") });

    const daemon = spawn("/usr/bin/setpriv", [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "/usr/sbin/libvirtd"], {
      cwd: "/",
      env: { PATH: process.env["PATH"], HOME: home, XDG_RUNTIME_DIR: runtime },
      stdio: "ignore",
    });
    onTestFinished(async () => {
      daemon.kill("SIGKILL");
      await once(daemon, "exit");
    });
    expect((await client.call("connectGetUri", {})).uri).toBe("qemu:///session");
    expect((await client.call("connectListAllDomains", {})).domains).toEqual([]);
  });
});
