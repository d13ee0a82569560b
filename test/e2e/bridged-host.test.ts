import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { copyTinyGuest, type FleetHost } from "../support/fleet-host.ts";
import { TestHost } from "../support/host.ts";
import { describeInCampaigns, inCampaigns } from "../support/in-campaigns.ts";
import { freePorts } from "../support/part.ts";
import { SshServer } from "../support/ssh-server.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;
const PASSWORD = "correct horse battery staple";
const LEASE = ["--lease-ttl", "12s", "--heartbeat-interval", "1s"];
const ADD = "mutation ($input: AddNodeInput!) { addNode(input: $input) { node { id } bridgedBy { id } hostKeys } }";
const INVENTORY = `query ($id: ID!) { node(id: $id) { status connection { state bridged } capacity { cpuCores memoryBytes }
  host { uuid hypervisor bootId } hardware { cpu { threads } memory { usedBytes swapUsedBytes } } pciDevices { address } disks { name }
  network { nics { name } } inventoryStatus { part unavailable { field reason } } } }`;
const NODE = `query ($id: ID!) { node(id: $id) { status uri agentId supportedInstanceTypes instanceTypes { type supported reason message } connection { state lastError bridged }
  host { uuid kernel hypervisor libvirtVersion } hardware { cpu { threads } memory { totalBytes } } instances(first: 10) { nodes { id state } } } }`;

describeInCampaigns("a host without an agent, reached over SSH by the agents of others", ["network-namespaces", "libvirt", "sshd"], () => {
  let fleet: ComputeFleet;
  let bare: TestHost;
  let ssh: SshServer;
  let directory = "";
  let privateKey = "";

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-bridged-"));
    bare = await TestHost.start(9, { containers: false });
    // Machines of a test reach this one, and not each other.
    const { hostAddress: address } = bare.namespace;
    ssh = await SshServer.start({ address, mountNamespaceOf: bare.libvirt.pid, password: PASSWORD });
    privateKey = await readFile(ssh.identityFile, "utf8");
    await copyTinyGuest(bare.imageDirectory);
    const agentOnly = { libvirt: false, containers: false };
    fleet = await ComputeFleet.start({
      hosts: [agentOnly, agentOnly],
      flags: LEASE,
      // What stands for the host keeps its instances in the same place, whichever agent that is.
      agentSettings: () => ({ imageDir: bare.imageDirectory, instanceDir: join(directory, "instances") }),
    });
  }, 240_000);

  afterAll(async () => {
    await fleet?.stop();
    await ssh?.stop();
    await bare?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const uri = (port = ssh.port) => `qemu+ssh://${ssh.user}@${ssh.address}:${port}/system`;
  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  const read = async (id: string): Promise<any> => (await fleet.query(NODE, { id })).node;

  async function refused(input: Record<string, unknown>): Promise<Record<string, unknown> | undefined> {
    const answer = await fleet.ask(ADD, { input: { hostname: "bare", uri: uri(), credentials: { privateKey }, ...input } });
    return answer.errors?.[0]?.extensions;
  }

  test("what is wrong is told with its step: password, key, port, host key, libvirt", async () => {
    const [closed] = (await freePorts(1)) as [number];
    const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlAF4nqJxkPcmFz3L0zYb0h0v6c6rrcB9eWkz2Qm3wR";
    expect(await refused({ credentials: { password: "wrong" } })).toMatchObject({ reason: "AuthenticationFailed", step: "AUTHENTICATE" });
    expect(await refused({ uri: uri(closed) })).toMatchObject({ reason: "ConnectFailed", step: "CONNECT" });
    expect(await refused({ hostKeys: [otherKey] })).toMatchObject({ reason: "HostKeyChanged", step: "HOST_KEY" });
    const noLibvirt = `${uri()}?socket=${join(directory, "none.sock")}`;
    expect(await refused({ uri: noLibvirt })).toMatchObject({ reason: "NoLibvirt", step: "LIBVIRT" });
    expect((await fleet.query('{ nodes(filter: { name: "bare" }) { totalCount } }')).nodes.totalCount).toBe(0);
  }, 120_000);

  test("over libvirt's socket alone: READY, with what libvirt tells, and the reason for the rest", async () => {
    const added = await fleet.query(ADD, { input: { hostname: "bare", uri: bare.libvirt.uri() } });
    const { id } = added.addNode.node;
    expect(added.addNode.hostKeys).toEqual([]);
    const inventory = async () => (await fleet.query(INVENTORY, { id })).node;
    await expect.poll(inventory, { timeout: 60_000 }).toMatchObject({
      ...{ status: "READY", connection: { state: "CONNECTED", bridged: true } },
      capacity: { cpuCores: availableParallelism(), memoryBytes: expect.any(Number) },
      host: { uuid: bare.libvirt.hostUuid, hypervisor: "QEMU", bootId: null },
      hardware: { cpu: { threads: availableParallelism() }, memory: { swapUsedBytes: null, usedBytes: expect.any(Number) } },
      pciDevices: expect.any(Array),
      disks: expect.any(Array),
      network: { nics: expect.any(Array) },
    });
    const { inventoryStatus, capacity } = await inventory();
    expect(capacity.memoryBytes).toBeGreaterThan(MIB);
    for (const part of ["HARDWARE", "HOST", "PCI", "NETWORK", "DISKS"]) {
      const { unavailable } = inventoryStatus.find((one: { part: string }) => one.part === part);
      expect(unavailable).toContainEqual({ field: expect.any(String), reason: "NO_SHELL" });
    }
    await fleet.query("mutation ($input: DeleteNodeInput!) { deleteNode(input: $input) { configuration { uri } } }", {
      input: { nodeId: id, hostname: "bare" },
    });
  }, 120_000);

  test("by password and by key; it is a node with its hardware, and not twice", async () => {
    const input = { hostname: "bare", uri: uri(), credentials: { password: PASSWORD } };
    const added = await fleet.query(ADD, { input });
    expect(added.addNode.hostKeys).toEqual([ssh.hostKey.split(" ").slice(0, 2).join(" ")]);
    const { id } = added.addNode.node;
    await expect
      .poll(() => read(id), { timeout: 60_000 })
      .toMatchObject({
        ...{ status: "READY", connection: { state: "CONNECTED", lastError: null, bridged: true } },
        host: { uuid: bare.libvirt.hostUuid, hypervisor: "QEMU" },
      });
    expect((await read(id)).hardware.memory.totalBytes).toBeGreaterThan(0);
    expect(await refused({ hostname: "again" })).toMatchObject({ code: "ALREADY_EXISTS", reason: "SameHost" });
    const deletion = "mutation ($input: DeleteNodeInput!) { deleteNode(input: $input) { configuration { hostname uri hostKeys } } }";
    const { deleteNode } = await fleet.query(deletion, { input: { nodeId: id, hostname: "bare" } });
    const again = await fleet.query(ADD, { input: { ...deleteNode.configuration, credentials: { privateKey } } });
    await expect.poll(() => read(again.addNode.node.id), { timeout: 60_000 }).toMatchObject({ status: "READY" });
  }, 180_000);

  test("the way to it is changed: another port, an encrypted key; what is wrong changes nothing", async () => {
    const [node] = (await fleet.query('{ nodes(filter: { name: "bare" }) { nodes { id } } }')).nodes.nodes;
    const UPDATE = "mutation ($input: UpdateNodeAccessInput!) { updateNodeAccess(input: $input) { node { id uri } hostKeys } }";
    const update = (input: Record<string, unknown>) => fleet.ask(UPDATE, { input: { nodeId: node.id, ...input } });
    // Another sshd of the same machine, with keys of its own.
    const moved = await SshServer.start({ address: ssh.address, mountNamespaceOf: bare.libvirt.pid });
    const encrypted = join(directory, "encrypted");
    await copyFile(moved.identityFile, encrypted);
    await run("ssh-keygen", ["-q", "-p", "-P", "", "-N", PASSWORD, "-f", encrypted]);
    const key = await readFile(encrypted, "utf8");
    const next = { uri: uri(moved.port), hostKeys: [moved.hostKey], credentials: { privateKey: key, passphrase: PASSWORD } };
    const refusal = async (change: Record<string, unknown>) => (await update({ ...next, ...change })).errors?.[0]?.extensions;
    expect(await refusal({ credentials: { privateKey } })).toMatchObject({ reason: "AuthenticationFailed", step: "AUTHENTICATE" });
    expect(await refusal({ credentials: { privateKey: key } })).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await refusal({ credentials: { privateKey: key, passphrase: "wrong" } })).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await refusal({ hostKeys: undefined })).toMatchObject({ reason: "HostKeyChanged", step: "HOST_KEY" });
    expect(await read(node.id)).toMatchObject({ uri: uri(), status: "READY", connection: { state: "CONNECTED" } });

    const { data, errors } = await update(next);
    expect(errors).toBeUndefined();
    expect(data?.updateNodeAccess).toMatchObject({ node: { id: node.id }, hostKeys: [moved.hostKey.split(" ").slice(0, 2).join(" ")] });
    await ssh.stop();
    ssh = moved;
    await expect
      .poll(() => read(node.id), { timeout: 60_000 })
      .toMatchObject({ uri: uri(), status: "READY", connection: { state: "CONNECTED", lastError: null } });
  }, 180_000);

  inCampaigns(
    "the agent that stands for it is killed: the other one takes it over, and its instances stay",
    async () => {
      const [node] = (await fleet.query('{ nodes(filter: { name: "bare" }) { nodes { id agentId } } }')).nodes.nodes;
      const spec = {
        ...{ image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE },
        ...{ cpuCores: 1, memoryBytes: 96 * MIB, network: { networkId: "none" } },
      };
      const vms = async () => (await read(node.id)).instanceTypes?.find(({ type }: { type: string }) => type === "VM") ?? null;
      await expect.poll(vms, { timeout: 90_000 }).toMatchObject({ supported: true });
      await expect.poll(async () => (await read(node.id)).supportedInstanceTypes, { timeout: 60_000 }).toContain("vm");
      const { id } = await fleet.change("createInstance", { name: "stays", type: "VM", spec, preferredNodeId: node.id });
      await fleet.untilState(id, "RUNNING", 90_000);
      const pidFile = () => readFile(join(bare.libvirt.directory, "run", "qemu", `${id}.pid`), "utf8");
      const before = await pidFile();

      const owners = await Promise.all(fleet.hosts.map(async ({ nodeId }) => (await read(nodeId)).agentId));
      const bridging = fleet.hosts[owners.indexOf(node.agentId)] as FleetHost;
      const other = owners.find((agentId) => agentId !== node.agentId);
      await bridging.agent.kill();
      await expect.poll(async () => (await read(node.id)).connection.state, { timeout: 60_000 }).toBe("AGENT_LOST");
      await expect
        .poll(() => read(node.id), { timeout: 90_000 })
        .toMatchObject({
          ...{ status: "READY", agentId: other, connection: { state: "CONNECTED" } },
          instances: { nodes: [{ id, state: "RUNNING" }] },
        });
      expect(await pidFile()).toBe(before);

      await ssh.kill();
      await expect.poll(async () => (await read(node.id)).connection.state, { timeout: 60_000 }).toBe("HOST_UNREACHABLE");
      expect((await read(node.id)).connection.lastError).toMatch(/./);
      await ssh.start();
      await expect.poll(async () => (await read(node.id)).connection.state, { timeout: 90_000 }).toBe("CONNECTED");
      await fleet.change("stopInstance", { instanceId: id, force: true });
      await fleet.untilState(id, "STOPPED", 60_000);
      await fleet.change("deleteInstance", { instanceId: id });
      await fleet.untilState(id, "DELETED", 60_000);
    },
    400_000,
  );
});
