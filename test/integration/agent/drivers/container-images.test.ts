import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ContainerDriver } from "../../../../agent/drivers/containers/container-driver.ts";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat, ImageSource, type NodeImageProgress } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { ContainerHost, soon } from "../../../support/container-host.ts";
import { containerPlan } from "../../../support/container-plan.ts";
import { ImageRegistry } from "../../../support/image-registry.ts";
import { MIB } from "../../../support/instance-plans.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { SlowProxy } from "../../../support/slow-proxy.ts";
import { until } from "../../../support/until.ts";

const PASSWORD = "a-pass-word-that-is-nowhere";
const quiet = () => undefined;
const source = (ref: string) => ImageSource.create({ ref, type: InstanceType.CONTAINER });
let ids = 0;

function planned(image: string): InstancePlan {
  return containerPlan({ image }, { instanceId: `inst-${String(++ids).padStart(16, "0")}` });
}

describeWithPeers("container images", ["network-namespaces", "podman", "registry"], () => {
  let host: ContainerHost;
  let registry: ImageRegistry;
  let closed: ImageRegistry;
  let slow: SlowProxy;
  let driver: ContainerDriver;
  /** As the registry itself calls it, of 6 MiB that nothing makes smaller. */
  let image: string;

  beforeAll(async () => {
    host = await ContainerHost.start(82, async (address) => {
      registry = await ImageRegistry.start({ host: address });
      closed = await ImageRegistry.start({ host: address, credentials: { username: "joe", password: PASSWORD } });
      slow = await SlowProxy.start(address, registry.address);
      return [registry.address, closed.address, slow.address];
    });
    const archive = join(host.directory, "layer.tar");
    await writeFile(join(host.directory, "noise"), randomBytes(6 * MIB));
    await host.podman.podman("create", "--name", "box", "--network", "none", "localhost/busybox");
    await host.podman.podman("cp", join(host.directory, "noise"), "box:/noise");
    await host.podman.podman("export", "--output", archive, "box");
    await host.podman.podman("rm", "box");
    await host.podman.podman("import", "--quiet", "--change", 'CMD ["/bin/sh"]', archive, "localhost/noise:latest");
    image = await registry.push(host.podman, "localhost/noise", "team/noise:v1");
    await closed.push(host.podman, "localhost/busybox", "secret:v1");
    await host.podman.podman("rmi", "localhost/noise");
    driver = await host.driver();
  });
  afterAll(async () => {
    await slow?.stop();
    await host?.stop();
    await registry?.stop();
    await closed?.stop();
  });

  /** By way of the slow proxy, under a name of its own, so that podman has to fetch it. */
  const slowly = () => image.replace(registry.address, slow.address);
  const forget = () => host.podman.podman("rmi", "--force", slowly());
  const fetched = () => host.logged.filter((line) => line.includes('"fetching an image"')).length;

  it("are fetched during creation, once for all that wait, with progress", async () => {
    slow.bytesPerSecond = 3 * MIB;
    const before = fetched();
    const plans = [planned(slowly()), planned(slowly()), planned(slowly())];
    const activities = new Map<string, string[]>(plans.map(({ instanceId }) => [instanceId, []]));
    const create = (plan: InstancePlan) => driver.create(plan, (activity) => activities.get(plan.instanceId)?.push(activity), soon());
    const natives = await Promise.all(plans.map(create));
    expect(natives.map(({ state }) => state)).toEqual(["STOPPED", "STOPPED", "STOPPED"]);
    expect(fetched() - before).toBe(1);
    for (const said of activities.values()) {
      expect(said[0]).toBe("fetching the image");
      expect(said).toContainEqual(expect.stringMatching(/^fetching the image: [1-9]\d* %$/));
    }
    for (const plan of plans) await driver.remove(plan, soon());
  });

  it("that are there are used as they are, without the registry", async () => {
    const before = fetched();
    const plan = planned(slowly());
    const [, id] = (await host.podman.podman("images", "--no-trunc", "--format", "{{.ID}}", slowly())).trim().split(":");
    await driver.create(plan, () => expect.unreachable("nothing takes long"), soon());
    const byId = planned(`sha256:${id}`);
    await driver.create(byId, quiet, soon());
    expect(fetched()).toBe(before);
    for (const made of [plan, byId]) await driver.remove(made, soon());
  });

  it("are given up when nobody waits for them any more, and not before", async () => {
    await forget();
    slow.bytesPerSecond = MIB;
    const [first, second] = [new AbortController(), new AbortController()];
    const told = Promise.withResolvers<void>();
    const create = (signal: AbortSignal) => driver.create(planned(slowly()), () => told.resolve(), signal);
    const creations = [create(first.signal), create(second.signal)];
    const outcomes = Promise.allSettled(creations);
    await told.promise;
    await until(() => slow.connections > 0, "a connection to the registry");
    first.abort();
    await expect(creations[0]).rejects.toThrow(expect.objectContaining({ code: "CANCELLED" }));
    expect(slow.connections).toBeGreaterThan(0);
    second.abort();
    await outcomes;
    await expect(creations[1]).rejects.toThrow(expect.objectContaining({ code: "CANCELLED" }));
    await until(() => slow.connections === 0, "the engine to let go of the registry");
    expect(await host.leftovers()).toEqual([]);

    slow.bytesPerSecond = null;
    const plan = planned(slowly());
    await expect(driver.create(plan, quiet, soon())).resolves.toMatchObject({ state: "STOPPED" });
    await driver.remove(plan, soon());
  });

  it("that cannot be had say what the registry said", async () => {
    const failed = (message: string) =>
      expect.objectContaining({ code: "FAILED_PRECONDITION", reason: "ImagePullFailed", message: expect.stringContaining(message) });
    const create = (name: string) => driver.create(planned(name), quiet, soon());
    await expect(create(`${registry.address}/team/noise:v2`)).rejects.toThrow(failed("manifest unknown"));
    await expect(create(`${registry.address}/nobody/nothing`)).rejects.toThrow(failed("nobody/nothing:latest"));
    await expect(create(`${closed.address}/secret:v1`)).rejects.toThrow(
      expect.objectContaining({ reason: "ImagePullUnauthorized", message: expect.stringContaining("setRegistryCredential") }),
    );
    await expect(create(`${host.namespace.hostAddress}:1/x`)).rejects.toThrow(failed("connection refused"));
    await expect(create(`sha256:${"0".repeat(64)}`)).rejects.toThrow(failed("not on this host"));
    expect(await host.leftovers()).toEqual([]);
    expect(host.logged.join("")).not.toContain(PASSWORD);
  });

  it("are fetched with the account that is kept for their registry", async () => {
    const asked: string[] = [];
    const account = { username: "joe", password: PASSWORD };
    const known = await host.driver(
      {
        findCredential: async (name) => {
          asked.push(name);
          return name === closed.address ? account : null;
        },
      },
      "accounts",
    );
    const plan = planned(`${closed.address}/secret:v1`);
    await known.create(plan, quiet, soon());
    expect(asked).toEqual([closed.address]);
    await known.remove(plan, soon());
    await known.images.deleteImage(`${closed.address}/secret:v1`, soon());
    // While the control plane is away a registry that needs none is used all the same.
    const cut = await host.driver({ findCredential: () => Promise.reject(new FleetError("UNAVAILABLE", "away")) }, "cut-off");
    const open = await cut.images.pullImage(source(image), { refresh: true, onProgress: quiet }, soon());
    expect(open.names).toContain(image);
    await cut.images.deleteImage(image, soon());
    expect(host.logged.join("")).not.toContain(PASSWORD);
  });

  it("are listed, pulled with progress, asked for anew, and deleted unless they are used", async () => {
    await forget();
    slow.bytesPerSecond = 3 * MIB;
    const told: NodeImageProgress[] = [];
    const pulls = [1, 2].map(() =>
      driver.images.pullImage(source(slowly()), { refresh: false, onProgress: (progress) => told.push(progress) }, soon()),
    );
    const before = fetched();
    const [pulled] = await Promise.all(pulls);
    expect(fetched() - before).toBeLessThanOrEqual(1);
    expect(
      told.some(({ status, currentBytes, totalBytes }) => status === "downloading" && currentBytes > 0 && currentBytes < totalBytes),
    ).toBe(true);
    slow.bytesPerSecond = null;
    const listed = (await driver.images.listImages(soon())).find(({ names }) => names.includes(slowly()));
    expect(listed).toEqual(pulled);
    expect(listed).toMatchObject({ type: InstanceType.CONTAINER, format: ImageFormat.OCI, inUse: false });
    expect(listed?.sizeBytes).toBeGreaterThan(6 * MIB);

    const asked = fetched();
    await driver.images.pullImage(source(slowly()), { refresh: false, onProgress: quiet }, soon());
    expect(fetched()).toBe(asked);
    await driver.images.pullImage(source(slowly()), { refresh: true, onProgress: quiet }, soon());
    expect(fetched()).toBe(asked + 1);

    const plan = planned(slowly());
    await driver.create(plan, quiet, soon());
    await expect(driver.images.deleteImage(slowly(), soon())).rejects.toThrow(
      expect.objectContaining({ reason: "ImageInUse", details: expect.objectContaining({ instanceIds: [plan.instanceId] }) }),
    );
    await driver.remove(plan, soon());
    expect(await driver.images.deleteImage(slowly(), soon())).toBeGreaterThan(6 * MIB);
    await expect(driver.images.deleteImage(slowly(), soon())).rejects.toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
    expect((await driver.images.listImages(soon())).some(({ names }) => names.includes(slowly()))).toBe(false);
  });

  it("from a registry that speaks plain HTTP and was not allowed to say how that is done", async () => {
    const proxy = await SlowProxy.start(host.namespace.hostAddress, registry.address);
    await expect(driver.create(planned(`${proxy.address}/team/noise:v1`), quiet, soon())).rejects.toThrow(
      expect.objectContaining({ reason: "ImagePullFailed", message: expect.stringContaining("registries.conf") }),
    );
    await proxy.stop();
  });

  it("without a command of their own need one", async () => {
    await host.podman.podman("import", "--quiet", join(host.directory, "layer.tar"), "localhost/silent:latest");
    await expect(driver.create(planned("localhost/silent"), quiet, soon())).rejects.toThrow(
      expect.objectContaining({ reason: "CommandRequired" }),
    );
  });
});
