import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType, type PullImageProgress } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { graphqlRefusal, refusal } from "../../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, ComputeControlPlane, type ComputeReplica } from "../../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import type { RecordedAgent } from "../../../support/recorded-agent.ts";
import { until } from "../../../support/until.ts";

const FIELDS =
  "id imageRef type status currentBytes totalBytes completed error { code reason message } nodes { node { id } task { id state nodeId groupId } }";
const PULL = `mutation ($input: PullImageInput!) { pullImage(input: $input) { pull { ${FIELDS} } } }`;
const CANCEL = `mutation ($id: ID!) { cancelImagePull(input: { pullId: $id }) { pull { ${FIELDS} } } }`;
const NOW = `query ($id: ID!) { imagePull(id: $id) { ${FIELDS} } }`;
const WATCH = `subscription ($id: ID!) { imagePull(id: $id) { ${FIELDS} } }`;

interface Pull {
  id: string;
  imageRef: string;
  status: string;
  currentBytes: number;
  totalBytes: number | null;
  completed: boolean;
  error: { code: string; reason: string | null; message: string } | null;
  nodes: Array<{ node: { id: string }; task: { id: string; state: string; nodeId: string; groupId: string } }>;
}

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`pulls of images, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    /** Started before the one that requests go to. */
    let other: ComputeReplica;
    let agents: RecordedAgent[];

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      other = await plane.start();
      await plane.start();
      agents = [await plane.node("node-1", { region: "eu", zone: "a" }), await plane.node("node-2", { region: "eu", zone: "b" })];
      plane.agents.cluster.set({ id: "node-simulated", simulated: true });
      await plane.node("node-3", { region: "us", supportedInstanceTypes: ["container"] });
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());
    beforeEach(() => {
      for (const { images } of agents) Object.assign(images, { onPull: null, givenUp: 0, pulled: [] });
    });

    const pull = async (input: Record<string, unknown>): Promise<Pull> => (await plane.ask(PULL, { input })).pullImage.pull;
    const refused = async (input: Record<string, unknown>) => graphqlRefusal(await plane.execute("operator", PULL, { input }));
    const now = async (id: string): Promise<Pull> => (await plane.ask(NOW, { id })).imagePull;
    const pulling = async (...names: number[]) =>
      until(() => names.every((index) => agents[index]!.images.pulling === 1), "the agents to be asked");
    async function watch(id: string, replica: ComputeReplica = other) {
      const stream = replica.subgraph.handler.subscribe({ query: WATCH, variables: { id }, headers: await plane.headers("viewer") });
      const frames: Pull[] = [];
      const done = (async () => {
        for await (const { data, errors } of stream) {
          if (errors) throw new Error(JSON.stringify(errors));
          frames.push((data as { imagePull: Pull }).imagePull);
        }
        return frames;
      })();
      return { frames, done, newest: () => frames.at(-1) };
    }

    test("one on several nodes is one task each, whose progress every replica tells, to a last frame", async () => {
      const made = await pull({ imageRef: "registry.example/app:v1", nodeIds: ["node-2", "node-1"] });
      expect(made).toMatchObject({ status: "WAITING", imageRef: "registry.example/app:v1", completed: false, error: null });
      expect(made.nodes.map(({ node, task }) => [node.id, task.nodeId, task.groupId])).toEqual([
        ["node-1", "node-1", made.id],
        ["node-2", "node-2", made.id],
      ]);
      const watched = await watch(made.id);
      await pulling(0, 1);
      expect(agents[0]!.images.pulled).toMatchObject([
        {
          nodeId: "node-1",
          refresh: false,
          source: { ref: "registry.example/app:v1", type: InstanceType.CONTAINER, checksum: "", name: "" },
        },
      ]);
      agents[0]!.images.progress("downloading", 400, 1_000);
      await until(() => watched.newest()?.currentBytes === 400, "the first bytes");
      expect(watched.newest()).toMatchObject({ status: "DOWNLOADING", totalBytes: null });
      agents[1]!.images.progress("unpacking", 100, 500);
      await until(() => watched.newest()?.currentBytes === 500, "the bytes of both");
      expect(watched.newest()).toMatchObject({ status: "DOWNLOADING", totalBytes: 1_500 });
      // Who comes late has what is at once.
      const late = await watch(made.id, plane.replica);
      await until(() => late.frames.length > 0, "a frame for who comes late");
      expect(late.frames[0]).toMatchObject({ status: "DOWNLOADING", currentBytes: 500 });
      agents[0]!.images.finish(1_000);
      agents[1]!.images.finish(500);
      for (const frames of [await watched.done, await late.done]) {
        expect(frames.at(-1)).toMatchObject({ status: "DONE", completed: true, error: null, currentBytes: 1_500, totalBytes: 1_500 });
        expect(frames.filter(({ completed }) => completed)).toHaveLength(1);
      }
      const after = await (await watch(made.id)).done;
      expect(after).toHaveLength(1);
      expect(after[0]).toMatchObject({ status: "DONE", nodes: [{ task: { state: "SUCCEEDED" } }, { task: { state: "SUCCEEDED" } }] });
      expect(await now(made.id)).toEqual(after[0]);
    });

    test("one whose agent goes away goes on when it is back, and ends with what an agent refuses", async () => {
      const made = await pull({ imageRef: "registry.example/interrupted", nodeIds: ["node-1"] });
      await pulling(0);
      await agents[0]!.kill();
      await until(async () => (await now(made.id)).status === "WAITING", "the pull to wait");
      await agents[0]!.start();
      await pulling(0);
      // In good order, as an agent that is stopped does.
      agents[0]!.images.fail(null);
      await until(() => agents[0]!.images.pulled.length >= 3, "the agent to be asked again");
      await pulling(0);
      agents[0]!.images.fail(new FleetError("FAILED_PRECONDITION", "There is no such tag.", { reason: "ImagePullFailed" }));
      const frames = await (await watch(made.id)).done;
      expect(frames.at(-1)).toMatchObject({
        status: "FAILED",
        completed: false,
        error: { code: "FAILED_PRECONDITION", reason: "ImagePullFailed", message: "There is no such tag." },
      });
    });

    test("one that is cancelled, on any replica, is given up on its hosts, and can be begun anew", async () => {
      const input = { imageRef: "registry.example/unwanted", nodeIds: ["node-1", "node-2"] };
      const made = await pull(input);
      await pulling(0, 1);
      agents[1]!.images.finish();
      await until(async () => (await now(made.id)).nodes.some(({ task }) => task.state === "SUCCEEDED"), "one node to be done");
      await plane.execute("operator", CANCEL, { id: made.id }, other);
      const frames = await (await watch(made.id)).done;
      expect(frames.at(-1)).toMatchObject({ status: "CANCELLED", completed: false, error: null });
      expect(frames.at(-1)?.nodes.map(({ task }) => task.state)).toEqual(["CANCELLED", "SUCCEEDED"]);
      await until(() => agents[0]!.images.givenUp === 1, "the agent to give it up");
      // Once more is no error; one that is done is.
      expect((await plane.ask(CANCEL, { id: made.id })).cancelImagePull.pull).toMatchObject({ status: "CANCELLED" });
      for (const { images } of agents) images.onPull = () => setImmediate(() => images.finish());
      const again = await pull(input);
      expect(again.id).not.toBe(made.id);
      expect((await (await watch(again.id)).done).at(-1)).toMatchObject({ status: "DONE" });
      expect(graphqlRefusal(await plane.execute("operator", CANCEL, { id: again.id }))).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "PullEnded",
        status: "DONE",
      });
    });

    test("one goes on with another replica where its own goes away", async () => {
      const before = [other, plane.replica];
      const made = await pull({ imageRef: "registry.example/handed-over", nodeIds: ["node-1"] });
      await pulling(0);
      // One of the two follows it; both go away.
      other = await plane.start();
      for (const replica of before) await replica.stop();
      await until(() => agents[0]!.images.pulled.length >= 2, "the third to ask");
      await pulling(0);
      const watched = await watch(made.id);
      agents[0]!.images.progress("downloading", 5, 10);
      await until(() => watched.newest()?.currentBytes === 5, "its progress");
      agents[0]!.images.finish(10);
      expect((await watched.done).at(-1)).toMatchObject({ status: "DONE" });
      await plane.start();
    });

    test("a request that is repeated begins one pull, also on two replicas at once", async () => {
      for (const { images } of agents) images.onPull = () => setImmediate(() => images.finish());
      const input = { imageRef: "registry.example/once", nodeIds: ["node-1", "node-2"], clientRequestId: `once on ${variant.name}` };
      const headers = await plane.headers("operator");
      const replicas = [other, plane.replica, other, plane.replica];
      const answers = await Promise.all(
        replicas.map(({ subgraph }) => subgraph.handler.execute({ query: PULL, variables: { input }, headers })),
      );
      const ids = answers.map(({ data, errors }) => {
        expect(errors).toBeUndefined();
        const { pull: made } = (data as { pullImage: { pull: Pull } }).pullImage;
        expect(made.nodes).toHaveLength(2);
        return made.id;
      });
      expect(new Set(ids).size).toBe(1);
      await (await watch(ids[0]!)).done;
      expect(await pull(input)).toMatchObject({ id: ids[0], status: "DONE" });
      expect(agents.map(({ images }) => images.pulled.length)).toEqual([1, 1]);
      expect(await refused({ ...input, imageRef: "registry.example/twice" })).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "clientRequestId",
      });
    });

    test("without nodes, one is chosen as for an instance; nodes that cannot are refused", async () => {
      for (const { images } of agents) images.onPull = () => setImmediate(() => images.finish());
      const there = async (input: Record<string, unknown>) => {
        const made = await pull({ imageRef: "https://images.example/debian.qcow2", ...input });
        await (await watch(made.id)).done;
        return made.nodes.map(({ node }) => node.id);
      };
      expect(await there({ zone: "b" })).toEqual(["node-2"]);
      expect(await there({ region: "eu", zone: "a", type: "MICROVM" })).toEqual(["node-1"]);
      expect(await refused({ imageRef: "https://images.example/debian.qcow2", region: "us" })).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "NoNodeFits",
        reasons: { RegionMismatch: 2, TypeNotSupported: 1, Simulated: 1 },
      });
      expect(await refused({ imageRef: "busybox", nodeIds: ["node-1", "node-none"] })).toMatchObject({
        code: "NOT_FOUND",
        field: "nodeIds",
      });
      expect(await refused({ imageRef: "busybox", nodeIds: ["node-simulated"] })).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "Simulated",
      });
      expect(graphqlRefusal(await plane.execute("viewer", NOW, { id: "pull-none" }))).toMatchObject({ code: "NOT_FOUND", field: "id" });
    });

    test("the query of a URL reaches the agent, and nobody else", async () => {
      const secret = "X-Signature=very-hidden-value";
      const checksum = `sha256:${"ab".repeat(32)}`;
      const made = await pull({
        imageRef: `https://images.example/signed.qcow2?${secret}`,
        nodeIds: ["node-1"],
        checksum,
        format: "QCOW2",
        name: "signed",
        refresh: true,
      });
      expect(made.imageRef).toBe("https://images.example/signed.qcow2");
      await pulling(0);
      expect(agents[0]!.images.pulled).toMatchObject([
        {
          refresh: true,
          source: {
            ref: `https://images.example/signed.qcow2?${secret}`,
            type: InstanceType.VM,
            checksum,
            format: ImageFormat.QCOW2,
            name: "signed",
          },
        },
      ]);
      const shown = await plane.ask("query ($id: ID!) { tasks(filter: { groupId: $id }) { nodes { input { key value } } } }", {
        id: made.id,
      });
      expect(JSON.stringify(shown)).toContain("signed.qcow2");
      expect(JSON.stringify(shown)).not.toContain("hidden");
      if (variant.name === "SQLite") {
        const dir = join(plane.databaseUrl.slice("sqlite:".length), "..");
        const files = (await readdir(dir)).filter((name) => name.startsWith("compute.db"));
        for (const file of files) expect(await readFile(join(dir, file), "latin1")).not.toContain("very-hidden-value");
      }
      agents[0]!.images.finish();
      await (await watch(made.id)).done;
    });

    test("gRPC tells it to its end, and one whose caller goes away goes on", async () => {
      const client = await plane.client();
      const frames: PullImageProgress[] = [];
      const following = (async () => {
        for await (const frame of client.pullImage({ imageRef: "registry.example/by-grpc", nodeIds: ["node-1"] })) frames.push(frame);
      })();
      await pulling(0);
      agents[0]!.images.progress("checking", 3, 4);
      await until(() => frames.at(-1)?.status === "checking", "its progress");
      expect(frames.at(-1)).toMatchObject({ current: 3, total: 4, completed: false, error: "" });
      agents[0]!.images.finish(4);
      await following;
      expect(frames.at(-1)).toMatchObject({ status: "done", current: 4, total: 4, completed: true, pullId: frames[0]?.pullId });
      let pullId = "";
      for await (const frame of client.pullImage({ imageRef: "registry.example/left", nodeIds: ["node-1"] })) {
        pullId = frame.pullId;
        await pulling(0);
        break;
      }
      expect(await now(pullId)).toMatchObject({ completed: false });
      agents[0]!.images.fail(new FleetError("FAILED_PRECONDITION", "There is no such tag.", { reason: "ImagePullFailed" }));
      await until(async () => (await now(pullId)).status === "FAILED", "it to go on to its end");
      const failing = client
        .pullImage({ imageRef: "Not An Image", nodeIds: ["node-1"] })
        [Symbol.asyncIterator]()
        .next();
      expect(await refusal(failing)).toMatchObject({ code: "INVALID_ARGUMENT", details: expect.objectContaining({ field: "image_ref" }) });
    });
  });
}
