import { expect, it } from "vitest";
import { imageAgentService } from "../../../../agent/grpc/image-agent-service.ts";
import type { NodeInstances } from "../../../../agent/instances/node-instances.ts";
import type { Identity } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageSource, NodeImage } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";

type Methods = Record<string, (request: unknown, context: { fleet: unknown }) => unknown>;

const { VM, MICROVM, CONTAINER, UNSPECIFIED } = InstanceType;
const disk = NodeImage.create({ id: "sha256:disk", type: VM });
const box = NodeImage.create({ id: "sha256:box", type: CONTAINER });

/** The service of a node with these drivers, as the control plane calls it, or somebody else. */
function serve(drivers: object[], identity: Identity = { kind: "control", name: "compute" }) {
  const instances = { drivers, keeperOf: async () => ({ waitingForImage: () => [] }) } as unknown as NodeInstances;
  const [, methods] = imageAgentService((nodeId) => (nodeId === "node-1" ? instances : null));
  const context = { fleet: { identity, signal: new AbortController().signal } };
  return (name: string, request: object) => (methods as Methods)[name]!({ nodeId: "node-1", ...request }, context as never);
}
const libvirt = (more: object = {}) => ({
  ...{ name: "libvirt", available: true, types: [VM, MICROVM], images: { listImages: async () => [disk] } },
  ...more,
});
const containers = (more: object = {}) => ({
  ...{ name: "containers", available: true, types: [CONTAINER], images: { listImages: async () => [box] } },
  ...more,
});

it("lists the images of all drivers, or of one kind", async () => {
  const call = serve([libvirt(), containers()]);
  expect(await call("listNodeImages", { type: UNSPECIFIED })).toEqual({ images: [disk, box], unavailable: [] });
  expect(await call("listNodeImages", { type: MICROVM })).toEqual({ images: [disk], unavailable: [] });
});

it("names the drivers that cannot be asked, without waiting for them", async () => {
  const waits = { listImages: () => new Promise(() => undefined) };
  const fails = { listImages: () => Promise.reject(new FleetError("UNAVAILABLE", "The engine is away.")) };
  const call = serve([libvirt({ available: false, images: waits }), containers({ images: fails })]);
  expect(await call("listNodeImages", { type: UNSPECIFIED })).toEqual({
    images: [],
    unavailable: [expect.stringContaining("libvirt is not there now"), "The engine is away."],
  });
});

it("refuses what it cannot do, by name", async () => {
  const call = serve([containers()]);
  const pull = async (source: ImageSource | undefined) => call("pullNodeImage", { source, refresh: false });
  await expect(pull(ImageSource.create({ ref: "x", type: VM }))).rejects.toMatchObject({ reason: "NoDriver" });
  await expect(pull(ImageSource.create({ ref: "x" }))).rejects.toMatchObject({ details: { field: "type" } });
  await expect(pull(undefined)).rejects.toMatchObject({ details: { field: "source.ref" } });
  const checksum = ImageSource.create({ ref: "x", type: CONTAINER, checksum: "md5:1" });
  await expect(pull(checksum)).rejects.toMatchObject({ details: { field: "source.checksum" } });
  await expect(call("deleteNodeImage", { image: "", type: CONTAINER })).rejects.toMatchObject({ details: { field: "image" } });
  await expect(call("listNodeImages", { nodeId: "node-2", type: UNSPECIFIED })).rejects.toMatchObject({ code: "NOT_FOUND" });
  const stranger = serve([containers()], { kind: "agent", agentId: "agent-1" });
  await expect(stranger("listNodeImages", { type: UNSPECIFIED })).rejects.toMatchObject({ code: "FORBIDDEN" });
});
