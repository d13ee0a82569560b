import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { inCampaigns } from "../support/in-campaigns.ts";
import { freePorts } from "../support/part.ts";
import { describeWithPeers } from "../support/peers.ts";
import type { ResumingClient } from "../support/resuming-client.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../support/rich-guest.ts";

const ADD = "mutation ($input: AddNodeInput!) { addNode(input: $input) { node { id } hostKeys } }";
const DELETE = "mutation ($input: DeleteNodeInput!) { deleteNode(input: $input) { configuration { hostname uri hostKeys kind } } }";
const STATUS = "query ($id: ID!) { node(id: $id) { status connection { state lastError } inventoryStatus { part observedAt } } }";
const INVENTORY = `query ($id: ID!) { node(id: $id) {
  hardware { cpu { threads model } numa { id cpus distances { distance } } virtualization { iommu } }
  host { kernel operatingSystem hypervisor libvirtVersion }
  pciDevices { address classId vendorId deviceId driver iommuGroup kind sriov { totalVfs } nvme { namespaces { disk sizeBytes } } }
  usbControllers { pciAddress } usbDevices { bus vendorId productId className }
  network { nics { name mac state driver addresses { address } } }
  disks { name sizeBytes transport serial smart { health temperatureCelsius } } } }`;
const CHANGES = `subscription ($after: String, $snapshot: Boolean) { nodeHardwareEvents(after: $after, snapshot: $snapshot) {
  type cursor timestamp nodeHardwareChange { part id kind description } } }`;
const LOGS = `query ($id: ID!, $filter: NodeLogFilter, $before: String) { node(id: $id) {
  logs(filter: $filter, last: 5, before: $before) { nodes { cursor message unit time } pageInfo { startCursor } } } }`;

/** Under emulation, on a machine that others use, too. */
const SLOW_MS = 120_000;

describeWithPeers("a real machine without an agent: the rich guest", ["rich-guest"], () => {
  let guest: RichGuest;
  let fleet: ComputeFleet;
  let changes: ResumingClient;
  let nodeId = "";

  beforeAll(async () => {
    const [agentPort] = (await freePorts(1)) as [number];
    [guest, fleet] = await Promise.all([
      RichGuest.start({ nvme: true }),
      // The agent of this machine stands for it.
      ComputeFleet.start({
        hosts: [],
        ownAgent: true,
        flags: ["--agent-port", `${agentPort}`, "--libvirt", "none", "--container-socket", "none", "--hostname", "bridge"],
        environment: { FLEETGRAPH_AGENT_SMART_INTERVAL: "10s" },
      }),
    ]);
    changes = fleet.watch(CHANGES, "nodeHardwareEvents");
  }, RICH_GUEST_START_MS);

  afterAll(async () => {
    await fleet?.stop();
    await guest?.stop();
  });

  const uri = () => `qemu+ssh://fleet@${guest.host}:${guest.sshPort}/system`;
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");

  async function add(input: Record<string, unknown>): Promise<string> {
    const { addNode } = await fleet.query(ADD, { input: { hostname: "rich", uri: uri(), ...input } });
    const { id } = addNode.node;
    await expect
      .poll(async () => (await fleet.query(STATUS, { id })).node, { timeout: SLOW_MS })
      .toMatchObject({ status: "READY", connection: { state: "CONNECTED", lastError: null } });
    return id;
  }

  async function seen(part: string, kind: string, is: (id: string, description: string) => boolean): Promise<void> {
    const told = () =>
      changes.events.some(({ nodeHardwareChange: it }) => {
        const change = it as { part: string; kind: string; id: string; description: string } | null;
        return change?.part === part && change.kind === kind && is(change.id, change.description);
      });
    const since = performance.now();
    await changes.until(told, SLOW_MS).catch((error: Error) => {
      throw new Error(`${part} ${kind}: ${error.message}`);
    });
    process.stdout.write(`${part} ${kind}: told after ${Math.round(performance.now() - since)} ms\n`);
  }

  test("is added by key; another host key is refused", async () => {
    const privateKey = await readFile(guest.identityFile, "utf8");
    const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlAF4nqJxkPcmFz3L0zYb0h0v6c6rrcB9eWkz2Qm3wR";
    const input = { hostname: "rich", uri: uri(), hostKeys: [other], credentials: { privateKey } };
    const refused = await fleet.ask(ADD, { input });
    expect(refused.errors?.[0]?.extensions).toMatchObject({ reason: "HostKeyChanged", step: "HOST_KEY" });
    nodeId = await add({ hostKeys: [guest.hostKey], credentials: { privateKey } });
  }, 300_000);

  inCampaigns(
    "is removed, and added again as it was, by password",
    async () => {
      const { deleteNode } = await fleet.query(DELETE, { input: { nodeId, hostname: "rich" } });
      expect(deleteNode.configuration.hostKeys).toEqual([guest.hostKey]);
      nodeId = await add({ ...deleteNode.configuration, credentials: { password: guest.passwords.fleet } });
    },
    300_000,
  );

  test("has the hardware that its own programs show", async () => {
    const parts = async () => (await fleet.query(STATUS, { id: nodeId })).node.inventoryStatus;
    await expect
      .poll(async () => (await parts()).every(({ observedAt }: { observedAt: string | null }) => observedAt !== null), { timeout: SLOW_MS })
      .toBe(true);
    const { node } = await fleet.query(INVENTORY, { id: nodeId });
    expect(node.hardware).toMatchObject({ virtualization: { iommu: true }, numa: [{ id: 0 }, { id: 1 }] });
    expect(node.host).toMatchObject({ kernel: (await guest.run("uname -r")).trim(), hypervisor: "QEMU" });
    const lspci = (await guest.run("lspci -Dn"))
      .trim()
      .split("\n")
      .map((line) => line.split(" ").slice(0, 3).join(" "));
    const pci = node.pciDevices.map(
      ({ address, classId, vendorId, deviceId }: Record<string, number>) =>
        `${address} ${hex((classId ?? 0) >> 8, 4)}: ${hex(vendorId ?? 0, 4)}:${hex(deviceId ?? 0, 4)}`,
    );
    expect(pci).toEqual(lspci);
    const lsblk = JSON.parse(await guest.run("lsblk -J -b -d -o NAME,SIZE,TYPE,SERIAL"));
    const disk = (name: unknown, size: unknown, serial: unknown) => `${name} ${size} ${serial}`;
    expect(node.disks.map(({ name, sizeBytes, serial }: Record<string, unknown>) => disk(name, sizeBytes, serial)).sort()).toEqual(
      lsblk.blockdevices
        .filter(({ type }: { type: string }) => type === "disk")
        .map(({ name, size, serial }: Record<string, unknown>) => disk(name, size, serial))
        .sort(),
    );
    const lsusb = (await guest.run("lsusb"))
      .trim()
      .split("\n")
      .filter((line) => !line.includes("1d6b:"));
    expect(
      node.usbDevices.map(({ vendorId, productId }: Record<string, number>) => `${hex(vendorId ?? 0, 4)}:${hex(productId ?? 0, 4)}`).sort(),
    ).toEqual(lsusb.map((line) => /ID ([0-9a-f:]{9})/.exec(line)?.[1]).sort());
    const links = JSON.parse(await guest.run("ip -j link"));
    for (const { name, mac } of node.network.nics) {
      expect(links.find(({ ifname }: { ifname: string }) => ifname === name)).toMatchObject({ address: mac });
    }
    expect(node.pciDevices.find(({ kind }: { kind: string }) => kind === "NVME")).toMatchObject({ sriov: { totalVfs: 2 } });
  }, 200_000);

  inCampaigns(
    "a USB device comes and goes, a link goes down, a disk begins to fail: all of it is told",
    async () => {
      await guest.qmp("device_add", { driver: "usb-mouse", id: "mouse", bus: "xhci.0" });
      await seen("USB", "DEVICE_ADDED", (_, description) => /mouse/i.test(description));
      await guest.qmp("device_del", { id: "mouse" });
      await seen("USB", "DEVICE_REMOVED", (_, description) => /mouse/i.test(description));

      const name = (await guest.run("ls /sys/bus/pci/drivers/e1000e/*/net | head -1")).trim();
      await guest.run(`ip link set ${name} up`);
      await seen("NETWORK", "LINK_UP", (id) => id === name);
      // Not by set_link: what QEMU then says to an e1000e that was read by ethtool in between does not reach its driver.
      await guest.run(`ip link set ${name} down`);
      await seen("NETWORK", "LINK_DOWN", (id) => id === name);

      await guest.qmp("qom-set", { path: "/machine/peripheral/nvme", property: "smart_critical_warning", value: 4 });
      await seen("DISKS", "DISK_FAILING", (id) => id === "nvme0n1");
    },
    400_000,
  );

  inCampaigns(
    "a network card and a USB stick are given to an instance, and come back; what carries the host is refused",
    async () => {
      const xml = `<domain type='qemu'><name>given</name><memory unit='MiB'>48</memory><vcpu>1</vcpu>
        <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
        <devices><controller type='usb' model='qemu-xhci'/><controller type='pci' index='1' model='pcie-root-port'/>
        <controller type='pci' index='2' model='pcie-root-port'/><controller type='pci' index='3' model='pcie-root-port'/></devices></domain>`;
      await guest.run(`printf '%s' "${xml}" > /root/given.xml && virsh -c qemu:///system define /root/given.xml`);
      const LIST = "query ($id: ID!) { node(id: $id) { instances(first: 10) { nodes { id name managed state } } } }";
      const [found] = await expect
        .poll(async () => (await fleet.query(LIST, { id: nodeId })).node.instances.nodes, { timeout: SLOW_MS })
        .toMatchObject([{ name: "given", managed: false }])
        .then(async () => (await fleet.query(LIST, { id: nodeId })).node.instances.nodes);
      await fleet.change("adoptInstance", { instanceId: found.id });
      const DEVICES = "query ($id: ID!) { instance(id: $id) { managed devices { kind pciAddress usbPort } } }";
      const given = async () => (await fleet.query(DEVICES, { id: found.id })).instance;
      await expect.poll(given, { timeout: SLOW_MS }).toMatchObject({ managed: true, devices: [] });

      const { node } = await fleet.query(INVENTORY, { id: nodeId });
      const { address } = node.pciDevices.find((it: Record<string, number>) => it.vendorId === 0x8086 && it.deviceId === 0x10d3);
      const port = (await guest.run("basename $(dirname $(grep -l FG-STICK-1 /sys/bus/usb/devices/*/serial))")).trim();
      const CHANGE = (name: string) =>
        `mutation ($input: ${name === "attachDevice" ? "Attach" : "Detach"}DeviceInput!) { ${name}(input: $input) { instance { id } } }`;
      const attach = (device: Record<string, unknown>) => fleet.ask(CHANGE("attachDevice"), { input: { instanceId: found.id, ...device } });
      const disk = node.pciDevices.find((it: Record<string, number>) => it.vendorId === 0x1af4 && it.deviceId === 0x1001);
      expect((await attach({ pciAddress: disk.address })).errors?.[0]?.extensions).toMatchObject({
        ...{ code: "FAILED_PRECONDITION", reason: "RootDisk" },
      });
      for (const device of [{ pciAddress: address }, { usbPort: port }]) expect((await attach(device)).errors).toBeUndefined();
      expect((await given()).devices).toMatchObject([{ pciAddress: address }, { usbPort: port }]);
      await fleet.change("startInstance", { instanceId: found.id });
      await fleet.untilState(found.id, "RUNNING", 2 * SLOW_MS);
      const monitor = (command: string) => guest.run(`virsh -c qemu:///system qemu-monitor-command given --hmp '${command}'`);
      expect(await monitor("info usb")).toContain("QEMU USB HARDDRIVE");
      expect(await monitor("info pci")).toContain("8086:10d3");
      const driverOf = async (path: string) => (await guest.run(`basename "$(readlink ${path}/driver || echo none)"`)).trim();
      expect(await driverOf(`/sys/bus/pci/devices/${address}`)).toBe("vfio-pci");
      const detach = (device: Record<string, unknown>) =>
        fleet.query(CHANGE("detachDevice"), { input: { instanceId: found.id, ...device } });
      await detach({ usbPort: port });
      expect(await monitor("info usb")).not.toContain("HARDDRIVE");
      await fleet.change("stopInstance", { instanceId: found.id, force: true });
      await fleet.untilState(found.id, "STOPPED", SLOW_MS);
      await detach({ pciAddress: address });
      expect((await given()).devices).toEqual([]);
      expect(await driverOf(`/sys/bus/pci/devices/${address}`)).toBe("e1000e");
      await expect.poll(() => driverOf(`/sys/bus/usb/devices/${port}:1.0`), { timeout: SLOW_MS }).toBe("usb-storage");
      await fleet.change("deleteInstance", { instanceId: found.id });
      await fleet.untilState(found.id, "DELETED", SLOW_MS);
    },
    600_000,
  );

  inCampaigns(
    "its journal is filtered, paged and followed there",
    async () => {
      await guest.run("logger --priority user.err 'a line of its own'");
      await expect
        .poll(
          async () => (await fleet.query(LOGS, { id: nodeId, filter: { text: "line of its OWN", priority: "ERROR" } })).node.logs.nodes,
          {
            timeout: SLOW_MS,
          },
        )
        .toMatchObject([{ message: "a line of its own" }]);
      const ssh = { service: "ssh", lastHours: 24 * 365 };
      const page = async (before: string | null) => (await fleet.query(LOGS, { id: nodeId, filter: ssh, before })).node.logs;
      const newest = await page(null);
      const older = await page(newest.pageInfo.startCursor);
      const lines = [...older.nodes, ...newest.nodes] as Array<{ cursor: string; unit: string; time: string }>;
      expect(new Set(lines.map(({ unit }) => unit))).toEqual(new Set(["ssh.service"]));
      expect(new Set(lines.map(({ cursor }) => cursor)).size).toBe(lines.length);
      expect(lines.map(({ time }) => time)).toEqual(lines.map(({ time }) => time).sort());

      const follow = "subscription ($id: ID!, $filter: NodeLogFilter) { nodeLogs(nodeId: $id, filter: $filter) { entries { message } } }";
      const writing = setInterval(() => void guest.run("logger 'followed line'").catch(() => undefined), 3000);
      try {
        for await (const { nodeLogs } of fleet.stream(follow, { id: nodeId, filter: { text: "followed" } })) {
          expect(nodeLogs.entries[0]).toEqual({ message: "followed line" });
          break;
        }
      } finally {
        clearInterval(writing);
      }
    },
    200_000,
  );

  inCampaigns(
    "is rebooted, held off so that it does not return, and shut down; each only for an admin who types its name",
    async () => {
      const input = { nodeId, hostname: "rich", reason: "a test" };
      const REBOOT = "mutation ($input: RebootNodeInput!) { rebootNode(input: $input) { operation { id } } }";
      const SHUTDOWN = "mutation ($input: ShutdownNodeInput!) { shutdownNode(input: $input) { operation { id } warning } }";
      const wrong = await fleet.ask(REBOOT, { input: { ...input, hostname: "poor" } });
      expect(wrong.errors?.[0]?.extensions).toMatchObject({ code: "INVALID_ARGUMENT", reason: "ConfirmationMismatch" });
      const admin = fleet.token;
      fleet.token = await fleet.cli("token", "--role", "operator");
      expect((await fleet.ask(REBOOT, { input })).errors?.[0]?.extensions).toMatchObject({ code: "FORBIDDEN" });
      fleet.token = admin;

      const before = await state();
      const first = (await fleet.query(REBOOT, { input })).rebootNode.operation.id;
      await expect.poll(state, { timeout: SLOW_MS }).toMatchObject({ operation: { id: first, kind: "REBOOT" }, maintenance: true });
      await ended(first, { state: "SUCCEEDED", error: null });
      // What the operation knows already is told a moment later by the agent's next report.
      await expect
        .poll(state, { timeout: SLOW_MS })
        .toMatchObject({ status: "READY", maintenance: false, operation: null, connection: { state: "CONNECTED" } });
      const bootId = (await guest.run("cat /proc/sys/kernel/random/boot_id")).trim();
      expect(bootId).not.toBe(before.host.bootId);
      await expect.poll(async () => (await state()).host.bootId, { timeout: SLOW_MS }).toBe(bootId);

      const resets = guest.resets;
      const second = (await fleet.query(REBOOT, { input: { ...input, deadlineSeconds: 60 } })).rebootNode.operation.id;
      await expect.poll(() => guest.resets, { timeout: 2 * SLOW_MS }).toBeGreaterThan(resets);
      await guest.qmp("stop");
      await ended(second, { state: "FAILED", error: { reason: "DidNotReturn" } });
      await expect.poll(state, { timeout: SLOW_MS }).toMatchObject({ maintenance: true, connection: { state: "HOST_UNREACHABLE" } });
      await guest.qmp("cont");
      await expect.poll(state, { timeout: 3 * SLOW_MS }).toMatchObject({ connection: { state: "CONNECTED" }, status: "READY" });
      await fleet.query("mutation ($input: EnableNodeInput!) { enableNode(input: $input) { node { id } } }", { input: { nodeId } });

      const { shutdownNode } = await fleet.query(SHUTDOWN, { input });
      expect(shutdownNode.warning).toMatch(/./);
      await ended(shutdownNode.operation.id, { state: "SUCCEEDED", error: null });
      await expect.poll(() => guest.running, { timeout: SLOW_MS }).toBe(false);
    },
    1_500_000,
  );

  const state = async () =>
    (
      await fleet.query(
        "query ($id: ID!) { node(id: $id) { status maintenance connection { state } host { bootId } operation { id kind phase } } }",
        { id: nodeId },
      )
    ).node;

  async function ended(id: string, how: Record<string, unknown>): Promise<void> {
    const query = "query ($id: ID!) { nodeOperation(id: $id) { state phase error { reason message } } }";
    const read = async () => (await fleet.query(query, { id })).nodeOperation;
    await expect.poll(async () => (await read()).state, { timeout: 5 * SLOW_MS, interval: 1000 }).not.toBe("RUNNING");
    expect(await read()).toMatchObject(how);
  }
});
