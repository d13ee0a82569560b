import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
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
  /** Where the agent looks for libvirt's daemon; one that answers is enough. */
  libvirtSockets?: readonly string[];
  /** Where it looks for a container engine. */
  containerSockets?: readonly string[];
}

const LIBVIRT_SOCKETS = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
const CONTAINER_SOCKETS = ["/run/podman/podman.sock", "/var/run/docker.sock"];
const BINARY_FOLDERS = ["usr/local/bin", "usr/bin", "bin", "usr/local/sbin", "usr/sbin", "usr/libexec"];
const QEMU = ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm"];
/** A daemon on the same machine accepts at once; one that hangs shall not keep the welcome. */
const CONNECT_TIMEOUT_MS = 1_000;

/**
 * What is missing for virtual machines, containers and the inventory, found by looking for devices and programs and by connecting to the daemons.
 * Nothing is run. That /dev/kvm is there and may be used does not prove that guests run on it: the agent finds that out by a boot.
 */
export async function missingCapabilities(options: ProbeOptions = {}): Promise<MissingCapability[]> {
  const { root = "/", libvirtSockets = LIBVIRT_SOCKETS, containerSockets = CONTAINER_SOCKETS } = options;
  const host = new HostFiles(root);
  const found = await Promise.all([
    ...[kvm(host), libvirt(host, libvirtSockets), qemu(host), containers(host, containerSockets)],
    ...[smart(host), events(host), journal(host), deviceNames(host)],
  ]);
  return found.filter((missing) => missing !== null);
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

function libvirt(host: HostFiles, sockets: readonly string[]): Promise<MissingCapability | null> {
  return service(host, {
    name: "libvirt",
    without: "this host runs no virtual machines and no microVMs",
    sockets,
    programs: ["libvirtd", "virtqemud"],
    start: "systemctl enable --now libvirtd",
    install: "install libvirt (Debian, Ubuntu: libvirt-daemon-system; Fedora: libvirt-daemon-kvm)",
    allow: () => "add the user to the group libvirt",
  });
}

function qemu(host: HostFiles): MissingCapability | null {
  if (host.hasProgram(QEMU)) return null;
  return {
    name: "QEMU",
    without: "this host runs no virtual machines and no microVMs",
    remedy: "install QEMU (Debian, Ubuntu: qemu-system-x86 or qemu-system-arm; Fedora: qemu-kvm)",
  };
}

function containers(host: HostFiles, sockets: readonly string[]): Promise<MissingCapability | null> {
  return service(host, {
    name: "podman or docker",
    without: "this host runs no containers",
    sockets,
    programs: ["podman", "dockerd"],
    start: "systemctl enable --now podman.socket (or docker)",
    install: "install podman (Debian, Ubuntu, Fedora: podman), then systemctl enable --now podman.socket",
    allow: (socket) => (socket.includes("docker") ? "add the user to the group docker" : "it is root's; run the agent as root"),
  });
}

function smart(host: HostFiles): MissingCapability | null {
  if (host.hasProgram(["smartctl"])) return null;
  return { name: "smartctl", without: "disks do not tell how they are", remedy: "install smartmontools" };
}

function events(host: HostFiles): MissingCapability | null {
  if (host.hasProgram(["udevadm"])) return null;
  const without = "devices that are plugged in or out are noticed only once a minute";
  return { name: "udevadm", without, remedy: "install udev (Fedora: systemd-udev)" };
}

function journal(host: HostFiles): MissingCapability | null {
  if (["run/log/journal", "var/log/journal"].some((folder) => host.exists(folder))) return null;
  return {
    name: "journal",
    without: "this host's logs cannot be read",
    remedy: "run systemd-journald, and install systemd for journalctl",
  };
}

function deviceNames(host: HostFiles): MissingCapability | null {
  if (["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"].some((file) => host.exists(file))) return null;
  return { name: "pci.ids", without: "devices have numbers for names", remedy: "install pci.ids and usb.ids (Fedora: hwdata)" };
}

interface Service {
  name: string;
  without: string;
  sockets: readonly string[];
  programs: string[];
  start: string;
  install: string;
  /** What lets a user use a socket. */
  allow: (socket: string) => string;
}

async function service(host: HostFiles, wanted: Service): Promise<MissingCapability | null> {
  const { name, without, sockets, programs, start, install, allow } = wanted;
  const answers = await Promise.all(sockets.map((socket) => host.connects(socket)));
  if (answers.includes("yes")) return null;
  const forbidden = sockets[answers.indexOf("forbidden")];
  if (forbidden !== undefined) return { name, without, remedy: `${forbidden} is there, but this user may not use it: ${allow(forbidden)}` };
  const silent = sockets[answers.indexOf("no answer")];
  if (silent !== undefined) return { name, without, remedy: `${silent} is there, but nothing answers: ${start}` };
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

  /** Whether a daemon accepts connections at a socket. */
  connects(path: string): Promise<"yes" | "forbidden" | "no answer" | "absent"> {
    return new Promise((resolve) => {
      const socket = connect({ path: join(this.#root, path), timeout: CONNECT_TIMEOUT_MS });
      const settle = (answer: "yes" | "forbidden" | "no answer" | "absent") => {
        socket.destroy();
        resolve(answer);
      };
      socket.once("connect", () => settle("yes"));
      socket.once("timeout", () => settle("no answer"));
      socket.once("error", ({ code }: NodeJS.ErrnoException) => {
        if (code === "EACCES" || code === "EPERM") settle("forbidden");
        else settle(code === "ENOENT" || code === "ENOTDIR" ? "absent" : "no answer");
      });
    });
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
