import { describe, expect, it } from "vitest";
import { HOST_NEEDS, type LibvirtFacts, readHostFacts } from "../../../../agent/hardware/host-facts.ts";
import { HARDWARE_NEEDS, readInventory } from "../../../../agent/hardware/inventory.ts";
import { type HostTree, treeHost } from "../../../support/host-tree.ts";

const DMI = "/sys/class/dmi/id";
const CPUS = "/sys/devices/system/cpu";

const MACHINE: HostTree = {
  [`${DMI}/bios_vendor`]: "American Megatrends Inc.\n",
  [`${DMI}/bios_version`]: "3.4\n",
  [`${DMI}/bios_date`]: "07/12/2021\n",
  [`${DMI}/board_vendor`]: "Supermicro\n",
  [`${DMI}/board_name`]: "H12SSL-i\n",
  [`${DMI}/board_version`]: "1.02\n",
  [`${DMI}/board_serial`]: { problem: "NO_PERMISSION" },
  [`${DMI}/sys_vendor`]: "Supermicro\n",
  [`${DMI}/product_name`]: "Super Server\n",
  [`${DMI}/product_version`]: "0123456789\n",
  [`${DMI}/product_serial`]: "To be filled by O.E.M.\n",
  [`${DMI}/product_uuid`]: "5F1EE79A-0000-4000-8000-00000000F1EE\n",
  "/sys/firmware/efi/fw_platform_size": "64\n",
};

async function hardwareOf(tree: HostTree) {
  return (await readInventory(treeHost(tree, HARDWARE_NEEDS))).hardware;
}

describe("the machine as its firmware describes it", () => {
  it("has firmware, board and system; what the maker left empty or hides is null with the reason", async () => {
    const { firmware, board, system, unavailable } = await hardwareOf({ ...MACHINE, "/sys/firmware/efi/": "" });
    expect(firmware).toEqual({ type: "UEFI", vendor: "American Megatrends Inc.", version: "3.4", releaseDate: "07/12/2021" });
    expect(board).toEqual({ vendor: "Supermicro", name: "H12SSL-i", version: "1.02", serial: undefined });
    expect(system).toEqual({
      ...{ vendor: "Supermicro", product: "Super Server", version: undefined, serial: undefined },
      uuid: "5f1ee79a-0000-4000-8000-00000000f1ee",
    });
    const reasons = Object.fromEntries(unavailable.map(({ field, reason }) => [field, reason]));
    expect(reasons).toMatchObject({
      "board.serial": "NO_PERMISSION",
      "system.version": "NOT_SUPPORTED",
      "system.serial": "NOT_SUPPORTED",
    });
  });

  it("was booted by its BIOS where there is DMI and no EFI", async () => {
    const { firmware } = await hardwareOf({ [`${DMI}/bios_vendor`]: "SeaBIOS\n" });
    expect(firmware).toMatchObject({ type: "BIOS", vendor: "SeaBIOS" });
  });

  it("is null with the reason where there is no DMI, but for how it was booted", async () => {
    const { firmware, board, system, unavailable } = await hardwareOf({ "/sys/firmware/efi/": "" });
    expect([firmware, board, system]).toEqual([{ type: "UEFI" }, undefined, undefined]);
    expect(unavailable.map(({ field }) => field)).toEqual(expect.arrayContaining(["board", "system"]));
  });
});

describe("the CPUs", () => {
  it.each([
    ["Not affected", false],
    ["Mitigation: Clear CPU buffers; SMT vulnerable", false],
    ["Unknown: No mitigations", false],
    ["Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown", true],
    ["KVM: Vulnerable", true],
    ["Processor vulnerable", true],
  ])("are judged by the kernel's sentence %s", async (status, vulnerable) => {
    const { vulnerabilities } = await hardwareOf({ [`${CPUS}/vulnerabilities/mds`]: `${status}\n` });
    expect(vulnerabilities).toEqual([{ name: "mds", status, vulnerable }]);
  });

  it("have the microcode of the driver, or of /proc/cpuinfo", async () => {
    const cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nmicrocode\t: 0x1\n\n";
    const host = { [`${CPUS}/online`]: "0\n", "/proc/cpuinfo": cpuinfo };
    expect((await hardwareOf(host)).cpu?.microcode).toBe("0x1");
    expect((await hardwareOf({ ...host, [`${CPUS}/cpu0/microcode/version`]: "0xd0003a5\n" })).cpu?.microcode).toBe("0xd0003a5");
    const { cpu, unavailable } = await hardwareOf({ [`${CPUS}/online`]: "0\n", "/proc/cpuinfo": "processor\t: 0\n\n" });
    expect(cpu?.microcode).toBeUndefined();
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "cpu.microcode", reason: expect.any(String) }));
  });
});

describe("who the host is", () => {
  const TREE: HostTree = {
    "/proc/sys/kernel/random/boot_id": "9a0a6290-ab0c-4467-9855-4cdffaaf793e\n",
    "/proc/sys/kernel/osrelease": "6.1.0-56-amd64\n",
    "/proc/stat": "cpu  1 2 3\nbtime 1795286685\nprocesses 7\n",
    "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n',
    [`${DMI}/product_uuid`]: "5F1EE79A-0000-4000-8000-00000000F1EE\n",
  };
  const LIBVIRT: LibvirtFacts = {
    ...{ hostUuid: "11111111-2222-4333-8444-555555555555", hypervisor: "QEMU", hypervisorVersion: "7.2.22" },
    ...{ libvirtVersion: "9.0.0", virtualization: "qemu" },
  };

  it("is read from the kernel, and from libvirt what it has", async () => {
    expect(await readHostFacts(treeHost(TREE, HOST_NEEDS), LIBVIRT)).toEqual({
      uuid: "11111111-2222-4333-8444-555555555555",
      bootId: "9a0a6290-ab0c-4467-9855-4cdffaaf793e",
      bootedAt: new Date(1_795_286_685_000),
      operatingSystem: "Debian GNU/Linux 12 (bookworm)",
      kernel: "6.1.0-56-amd64",
      architecture: "x86_64",
      ...{ hypervisor: "QEMU", hypervisorVersion: "7.2.22", libvirtVersion: "9.0.0", virtualization: "qemu" },
      unavailable: [],
    });
  });

  it("has DMI's name and reasons for the rest without libvirt", async () => {
    const { uuid, unavailable } = await readHostFacts(treeHost(TREE, HOST_NEEDS), null);
    expect(uuid).toBe("5f1ee79a-0000-4000-8000-00000000f1ee");
    expect(unavailable.map(({ field }) => field)).toEqual(["hypervisor", "hypervisorVersion", "libvirtVersion", "virtualization"]);
  });

  it("says of each value that it does not find why", async () => {
    const { unavailable, ...facts } = await readHostFacts(
      treeHost({ "/proc/stat": "cpu 1\n", "/etc/os-release": "ID=x\n" }, HOST_NEEDS),
      null,
    );
    const missing = Object.entries(facts).flatMap(([field, value]) => (value === undefined ? [field] : []));
    expect(unavailable.map(({ field }) => field).sort()).toEqual(missing.sort());
  });

  it("is named by the second file where /etc has none, quoted or not", async () => {
    const tree = { ...TREE, "/etc/os-release": { problem: "NOT_PRESENT" } as const, "/usr/lib/os-release": "NAME=Alpine\\'s\n" };
    expect((await readHostFacts(treeHost(tree, HOST_NEEDS), null)).operatingSystem).toBe("Alpine's");
  });
});
