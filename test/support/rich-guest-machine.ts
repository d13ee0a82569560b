import { join } from "node:path";

/** The files of one built guest: a folder of the cache. */
export interface RichGuestFiles {
  directory: string;
  kernel: string;
  initrd: string;
  /** Its root file system, raw; as it was when the machine's state was saved. */
  disk: string;
  /** The saved machine but for its memory. */
  state: string;
  /** The saved memory of each NUMA node. */
  memory: [string, string];
}

export function filesIn(directory: string): RichGuestFiles {
  const file = (name: string) => join(directory, name);
  return {
    directory,
    kernel: file("vmlinuz"),
    initrd: file("initrd"),
    disk: file("disk.raw"),
    state: file("machine.state"),
    memory: [file("memory0"), file("memory1")],
  };
}

/** Of each NUMA node. */
const NODE_MEBIBYTES = 640;
/**
 * QEMU 7.2's e1000e tells by MSI-X of one change of its link and of no other, so its driver takes plain interrupts. The second line leaves out
 * what costs a boot under emulation seconds and shows nothing, and a check of the timer that fails on a busy machine.
 */
const COMMAND_LINE = [
  ...["console=ttyS0", "root=/dev/vda", "rw", "quiet", "intel_iommu=on", "hugepages=16", "e1000e.IntMode=0"],
  ...["mitigations=off", "audit=0", "no_timer_check", "cryptomgr.notests", "modprobe.blacklist=powernow_k8"],
].join(" ");

/** For QMP's device_add. */
export const NVME = {
  ...{ driver: "nvme", id: "nvme", bus: "nvme-port", subsys: "nvme-subsystem", serial: "FG-NVME-1" },
  ...{ max_ioqpairs: 6, msix_qsize: 7, sriov_max_vfs: 2, sriov_vq_flexible: 4, sriov_vi_flexible: 2 },
};

export interface MachineOptions {
  files: RichGuestFiles;
  /** Of this run: sockets, the console's log and disks that are thrown away. */
  directory: string;
  /**
   * - boot: from the disk, with memory of its own; nothing is kept.
   * - save: as boot, but what it writes to disk and memory goes into `files`.
   * - restore: waits for the saved state; what it writes is thrown away.
   */
  how: "boot" | "save" | "restore";
}

/**
 * QEMU's command line. The same for all three ways, so that a saved state fits: two NUMA nodes, an Intel IOMMU, an e1000e on a root port of
 * its own, an xHCI with a tablet and a stick, a virtio and a SATA disk, and root ports named nvme-port and spare-port to plug into.
 */
export function machineArguments({ files, directory, how }: MachineOptions): string[] {
  const file = (name: string) => join(directory, name);
  // Each run maps the saved memory privately: nothing is read that is not used, and several runs share what they do not write.
  const memory = (node: 0 | 1) =>
    how === "boot"
      ? `memory-backend-ram,id=memory${node},size=${NODE_MEBIBYTES}M`
      : `memory-backend-file,id=memory${node},size=${NODE_MEBIBYTES}M,mem-path=${files.memory[node]},share=${how === "save" ? "on" : "off"}`;
  const snapshot = how === "save" ? "off" : "on";
  const socket = (name: string) => `socket,id=${name},path=${file(name)},server=on,wait=off`;
  return [
    ...[
      "-accel",
      "tcg,thread=multi",
      "-M",
      "q35,i8042=off",
      "-cpu",
      "qemu64,svm=off",
      "-smp",
      "2,sockets=2",
      "-m",
      `${2 * NODE_MEBIBYTES}M`,
    ],
    ...["-object", memory(0), "-object", memory(1)],
    ...["-numa", "node,nodeid=0,cpus=0,memdev=memory0", "-numa", "node,nodeid=1,cpus=1,memdev=memory1", "-numa", "dist,src=0,dst=1,val=21"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-rtc", "base=utc"],
    ...["-uuid", "5f1ee79a-0000-4000-8000-00000000f1ee"],
    ...["-smbios", "type=1,manufacturer=Fleetgraph,product=Rich Guest,serial=FG-SYSTEM-1"],
    ...["-smbios", "type=2,manufacturer=Fleetgraph,product=Rich Board,serial=FG-BOARD-1"],
    ...["-kernel", files.kernel, "-initrd", files.initrd, "-append", COMMAND_LINE],
    ...["-chardev", `file,id=console,path=${file("console.log")}`, "-serial", "chardev:console"],
    ...["-chardev", socket("qmp"), "-mon", "chardev=qmp,mode=control"],
    ...["-device", "intel-iommu,intremap=on"],
    ...rootPorts(["lab-port", "nvme-port", "spare-port", "usb-port"]),
    ...["-device", "virtio-rng-pci,id=random,addr=2"],
    ...["-drive", `file=${files.disk},format=raw,if=none,id=root,snapshot=${snapshot},cache=unsafe`],
    ...["-device", "virtio-blk-pci,id=root-disk,drive=root,serial=FG-ROOT-1,addr=3"],
    // QEMU's IDE disks have SMART data.
    ...["-drive", "driver=null-co,size=64M,read-zeroes=on,if=none,id=sata"],
    ...["-device", "ide-hd,id=sata-disk,drive=sata,bus=ide.0,serial=FG-SATA-1,model=FLEETGRAPH SATA"],
    ...["-netdev", "user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"],
    ...["-device", "virtio-net-pci,id=management-nic,netdev=management,mac=52:54:00:f1:ee:01,addr=4"],
    ...["-netdev", "user,id=lab,restrict=on", "-device", "e1000e,id=lab-nic,netdev=lab,mac=52:54:00:f1:ee:02,bus=lab-port"],
    ...["-device", "qemu-xhci,id=xhci,bus=usb-port", "-device", "usb-tablet,id=tablet,bus=xhci.0"],
    ...["-drive", "driver=null-co,size=32M,read-zeroes=on,if=none,id=stick"],
    ...["-device", "usb-storage,id=usb-stick,drive=stick,bus=xhci.0,serial=FG-STICK-1"],
    ...["-device", "virtio-serial-pci,id=serial,addr=5", "-chardev", socket("qga")],
    ...["-device", "virtserialport,bus=serial.0,chardev=qga,name=org.qemu.guest_agent.0"],
    ...["-device", "nvme-subsys,id=nvme-subsystem,nqn=fleetgraph"],
    ...(how === "save" ? [] : nvmeDisk()),
    ...(how === "restore" ? ["-incoming", "defer"] : []),
  ];
}

/** A namespace can be made only while there is a controller, but stays when that one is unplugged. */
function nvmeDisk(): string[] {
  const disk = "driver=null-co,size=64M,read-zeroes=on,if=none,id=nvme-disk";
  const namespace = { driver: "nvme-ns", id: "nvme-namespace", bus: "nvme", drive: "nvme-disk" };
  return ["-drive", disk, "-device", JSON.stringify(NVME), "-device", JSON.stringify(namespace)];
}

function rootPorts(names: string[]): string[] {
  return names.flatMap((name, index) => ["-device", `pcie-root-port,id=${name},chassis=${index + 1},slot=${index + 1},addr=${8 + index}`]);
}
