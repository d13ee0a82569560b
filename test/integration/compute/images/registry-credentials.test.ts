import { randomBytes } from "node:crypto";
import { appendFile, chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createGrpcChannel } from "../../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../../platform/grpc/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { keyIdOf } from "../../../../platform/secrets/sealed-box.ts";
import { SECRET_KEYS_FILE } from "../../../../platform/secrets/secret-keys.ts";
import { ImageCredentialServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { openComputeStore } from "../../../../subgraphs/compute/main.ts";
import { backupDatabase } from "../../../../subgraphs/kit/store/backup.ts";
import { agentKeyPair } from "../../../support/certificates.ts";
import { graphqlRefusal, refusal } from "../../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, ComputeControlPlane } from "../../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const SET =
  "mutation ($input: SetRegistryCredentialInput!) { setRegistryCredential(input: $input) { credential { registry username updatedBy updatedAt } } }";
const DELETE =
  "mutation ($registry: String!) { deleteRegistryCredential(input: { registry: $registry }) { credential { registry username } } }";

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`accounts for registries, on ${variant.name}`, variant.peers, () => {
    const lines: string[] = [];
    const destination = new Writable({
      decodeStrings: false,
      write(line: string, _encoding, done) {
        lines.push(line);
        done();
      },
    });
    const log = createLogger({ name: "test", level: "trace", destination });
    let plane: ComputeControlPlane;
    let scratch: string;

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), "fleetgraph-credentials-"));
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start({}, log);
      await plane.node("node-1");
      await plane.node("node-2");
    });
    afterAll(async () => {
      await plane?.[Symbol.asyncDispose]();
      await rm(scratch, { recursive: true, force: true });
    });

    const set = (registry: string, username: string, password: string) =>
      plane.execute("admin", SET, { input: { registry, username, password } });
    /** What the agent of a node is told about a registry. */
    async function asked(ofNode: string, registry: string, byAgentOf = ofNode) {
      const pair = await agentKeyPair(plane.agents.ca, `agent-of-${byAgentOf}`);
      const tls = { caPem: plane.agents.ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair };
      const channel = createGrpcChannel(plane.replica.agentAddress, tls);
      try {
        return await grpcClient(ImageCredentialServiceDefinition, channel).getImageCredential({ nodeId: ofNode, registry });
      } finally {
        channel.close();
      }
    }
    /** All that the database holds: its files as they are, or every row of it. */
    async function wholeDatabase(): Promise<string> {
      if (variant.name === "SQLite") {
        const file = plane.databaseUrl.slice("sqlite:".length);
        const names = (await readdir(join(file, ".."))).filter((name) => name.startsWith("compute.db"));
        return (await Promise.all(names.map((name) => readFile(join(file, "..", name), "latin1")))).join();
      }
      const file = join(scratch, `${randomBytes(6).toString("hex")}.jsonl`);
      await backupDatabase(plane.databaseUrl, file);
      return readFile(file, "utf8");
    }

    /** The passwords as they are stored. */
    async function boxes(): Promise<string[]> {
      const store = await openComputeStore(plane.databaseUrl, log);
      try {
        const rows = await store.read((em) => em.execute<Array<{ box: string }>>("select sealed_password as box from registry_credential"));
        return rows.map(({ box }) => box);
      } finally {
        await store.close();
      }
    }

    test("are listed without their passwords, replaced, and deleted", async () => {
      const made = await set("Registry.Example:5000", "ada", "first-password");
      expect(made.data).toMatchObject({
        setRegistryCredential: { credential: { registry: "registry.example:5000", username: "ada", updatedBy: "a admin" } },
      });
      await set("registry.example:5000", "grace", "second-password");
      await set("index.docker.io", "ada", "hub-password");
      const list = await plane.execute("admin", "{ registryCredentials { registry username } }");
      expect(list.data).toEqual({
        registryCredentials: [
          { registry: "docker.io", username: "ada" },
          { registry: "registry.example:5000", username: "grace" },
        ],
      });
      expect(await asked("node-1", "registry.example:5000")).toEqual({ username: "grace", password: "second-password" });
      expect(await asked("node-2", "docker.io")).toEqual({ username: "ada", password: "hub-password" });
      expect((await plane.execute("admin", DELETE, { registry: "docker.io" })).data).toMatchObject({
        deleteRegistryCredential: { credential: { registry: "docker.io" } },
      });
      expect(graphqlRefusal(await plane.execute("admin", DELETE, { registry: "docker.io" }))).toMatchObject({
        code: "NOT_FOUND",
        field: "registry",
      });
      expect(await refusal(asked("node-1", "docker.io"))).toMatchObject({ code: "NOT_FOUND" });
    });

    test("are told to a node's own agent and to nobody else", async () => {
      await set("private.example", "ada", "only-for-hosts");
      expect(await refusal(asked("node-1", "private.example", "node-2"))).toMatchObject({ code: "FORBIDDEN", reason: "NotYourNode" });
      expect(await refusal(asked("node-none", "private.example", "node-1"))).toMatchObject({ code: "NOT_FOUND" });
      expect(await refusal(asked("node-1", "not a registry"))).toMatchObject({
        code: "INVALID_ARGUMENT",
        details: expect.objectContaining({ field: "registry" }),
      });
      const fields = await plane.execute("admin", '{ __type(name: "RegistryCredential") { fields { name } } }');
      expect(JSON.stringify(fields.data)).not.toMatch(/password/i);
    });

    test("leave no password in the database, in a log, or in an event", async () => {
      const password = `pw-${randomBytes(12).toString("hex")}`;
      await set("secret.example", "ada-the-visible", password);
      expect(await asked("node-1", "secret.example")).toMatchObject({ password });
      expect(graphqlRefusal(await set("secret.example", "a:b", password))).toMatchObject({ field: "username" });
      const stored = await wholeDatabase();
      expect(stored).toContain("ada-the-visible");
      expect(stored).not.toContain(password);
      expect(stored).not.toContain(Buffer.from(password).toString("base64"));
      expect(stored).not.toContain(Buffer.from(password).toString("hex"));
      expect(lines.join("")).toContain("the account for a registry was set");
      expect(lines.join("")).not.toContain(password);
    });

    test("are sealed anew by a newer key, after which the older one can go; without its key, one is refused", async () => {
      await set("rotated.example", "ada", "rotating-password");
      const file = join(plane.secretsDir, SECRET_KEYS_FILE);
      const before = await readFile(file, "utf8");
      const newKey = `${randomBytes(32).toString("base64")}\n`;
      await appendFile(file, newKey);
      await plane.replica.stop();
      await plane.start({}, log);
      const newest = `fg1.${keyIdOf(Buffer.from(newKey, "base64"))}.`;
      await until(async () => (await boxes()).every((box) => box.startsWith(newest)), "all to be sealed by the new key");
      await writeFile(file, newKey);
      await chmod(file, 0o600);
      await plane.replica.stop();
      await plane.start({}, log);
      expect(await asked("node-1", "rotated.example")).toMatchObject({ password: "rotating-password" });
      await writeFile(file, before);
      await plane.replica.stop();
      await plane.start({}, log);
      expect(await refusal(asked("node-1", "rotated.example"))).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "SecretKeyMissing",
      });
      await until(() => lines.some((line) => line.includes("rotated.example") && line.includes("SecretKeyMissing")), "a warning");
      await set("rotated.example", "ada", "set again");
      expect(await asked("node-1", "rotated.example")).toMatchObject({ password: "set again" });
    });
  });
}
