import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Something that this machine lacks, for the person who starts Fleetgraph on it. */
export interface MissingCapability {
  /** What it is: "KVM". */
  name: string;
  /** What does not work without it. */
  without: string;
  /** What to do. */
  remedy: string;
}

export interface ProbeOptions {
  /** Another root than "/", for tests. */
  root?: string;
  /** Whose session sockets count as well. */
  userId?: number;
}

const BINARY_FOLDERS = ["usr/local/bin", "usr/bin", "bin", "usr/local/sbin", "usr/sbin", "usr/libexec"];
const QEMU = ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm"];

/** What is missing for virtual machines and containers, found by looking for devices, sockets and programs: nothing is run or opened. */
export function missingCapabilities({ root = "/", userId = process.getuid?.() ?? 0 }: ProbeOptions = {}): MissingCapability[] {
  const host = new HostFiles(root);
  return [kvm(host), libvirt(host, userId), qemu(host), containers(host, userId)].filter((missing) => missing !== null);
}

function kvm(host: HostFiles): MissingCapability | null {
  const name = "KVM";
  const without = "virtual machines are emulated, which is slow";
  if (host.usable("dev/kvm")) return null;
  if (host.exists("dev/kvm"))
    return { name, without, remedy: "/dev/kvm is there, but this user may not use it: add the user to the group kvm" };
  const capable = /\b(?:vmx|svm)\b/.test(host.text("proc/cpuinfo"));
  const remedy = capable
    ? "load the kernel module: modprobe kvm_intel or kvm_amd"
    : "this CPU shows no virtualisation: switch it on in the firmware, or in the hypervisor that runs this machine";
  return { name, without, remedy };
}

function libvirt(host: HostFiles, userId: number): MissingCapability | null {
  const names = ["libvirt-sock", "virtqemud-sock"];
  const sockets = [`run`, `var/run`, `run/user/${userId}`].flatMap((folder) => names.map((name) => `${folder}/libvirt/${name}`));
  return service(host, {
    name: "libvirt",
    without: "this host runs no virtual machines",
    sockets,
    programs: ["libvirtd", "virtqemud"],
    start: "systemctl enable --now libvirtd",
    install: "install libvirt (Debian, Ubuntu: libvirt-daemon-system; Fedora: libvirt-daemon-kvm)",
    group: "libvirt",
  });
}

function qemu(host: HostFiles): MissingCapability | null {
  if (host.hasProgram(QEMU)) return null;
  return {
    name: "QEMU",
    without: "this host runs no virtual machines",
    remedy: "install QEMU (Debian, Ubuntu: qemu-system-x86 or qemu-system-arm; Fedora: qemu-kvm)",
  };
}

function containers(host: HostFiles, userId: number): MissingCapability | null {
  return service(host, {
    name: "podman or docker",
    without: "this host runs no containers",
    sockets: ["run/podman/podman.sock", `run/user/${userId}/podman/podman.sock`, "run/docker.sock", "var/run/docker.sock"],
    programs: ["podman", "dockerd"],
    start: "systemctl enable --now podman.socket (or docker)",
    install: "install podman (Debian, Ubuntu, Fedora: podman), then systemctl enable --now podman.socket",
    group: "docker",
  });
}

interface Service {
  name: string;
  without: string;
  sockets: string[];
  programs: string[];
  start: string;
  install: string;
  group: string;
}

function service(host: HostFiles, { name, without, sockets, programs, start, install, group }: Service): MissingCapability | null {
  if (sockets.some((socket) => host.usable(socket))) return null;
  const forbidden = sockets.find((socket) => host.exists(socket));
  if (forbidden !== undefined) {
    return { name, without, remedy: `/${forbidden} is there, but this user may not use it: add the user to the group ${group}` };
  }
  return { name, without, remedy: host.hasProgram(programs) ? `it is installed but does not run: ${start}` : install };
}

class HostFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  exists(path: string): boolean {
    return existsSync(join(this.#root, path));
  }

  /** Readable and writable by this user. */
  usable(path: string): boolean {
    try {
      accessSync(join(this.#root, path), constants.R_OK | constants.W_OK);
      return true;
    } catch {
      return false;
    }
  }

  text(path: string): string {
    try {
      return readFileSync(join(this.#root, path), "utf8");
    } catch {
      return "";
    }
  }

  hasProgram(names: string[]): boolean {
    return BINARY_FOLDERS.some((folder) => names.some((name) => this.exists(join(folder, name))));
  }
}
