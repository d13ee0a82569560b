import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { parse as parseYaml } from "yaml";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { InstanceSettings } from "../instances/node-instances.ts";
import { LibvirtClient } from "../libvirt/client.ts";
import { ContainerDriver } from "./containers/container-driver.ts";
import { ContainerNotesFile } from "./containers/container-notes.ts";
import type { FindCredential } from "./image-driver.ts";
import type { InstanceDriver } from "./instance-driver.ts";
import { LibvirtDriver } from "./libvirt/libvirt-driver.ts";
import { probeCacheFile } from "./libvirt/probe-cache-file.ts";
import { parseSecurityGroups, type SecurityGroupRules } from "./libvirt/security-group-rules.ts";
import { InstanceStorage } from "./libvirt/storage/instance-storage.ts";

/** What runs instances on a host, as configured. */
export interface DriverSettings {
  /** Null: no VMs and no microVMs. */
  libvirtUri: string | null;
  /** For qemu+ssh. */
  sshIdentity: string | null;
  sshKnownHosts: string | null;
  /** "none": no containers; null: the first of the usual ones. */
  containerSocket: string | null;
  /** On libvirt's host. */
  imageDir: string;
  instanceDir: string;
  ssdDir: string | null;
  hddDir: string | null;
  imageUrls: readonly string[];
  /** Of fetched disk images; null: as they are by default. */
  imageLimits: { maxDiskBytes: number; retentionDays: number; minFreeBytes: number } | null;
  mountRoots: readonly string[];
  poolRoots: readonly string[];
  publicNetwork: string | null;
  securityGroupsFile: string | null;
  adoption: boolean;
  /** Where drivers keep what they cannot find out again. */
  stateDir: string;
}

/** Where container engines listen, the first that is there; the first of all, where none is yet. */
const CONTAINER_SOCKETS = ["/run/podman/podman.sock", "/run/docker.sock"] as const;

/**
 * Opens the drivers of a host; what they drive may be away and come later. Throws INVALID_ARGUMENT for settings that cannot be used, and
 * FAILED_PRECONDITION for damaged state.
 */
export async function openDrivers(settings: DriverSettings, log: Logger, findCredential: FindCredential): Promise<InstanceSettings> {
  const securityGroups = await readSecurityGroups(settings.securityGroupsFile);
  const drivers: InstanceDriver[] = [];
  if (settings.containerSocket !== "none") {
    drivers.push(
      new ContainerDriver({
        socketPath: settings.containerSocket ?? CONTAINER_SOCKETS.find((path) => existsSync(path)) ?? CONTAINER_SOCKETS[0],
        notes: await ContainerNotesFile.open(join(settings.stateDir, "containers.json")),
        mountRoots: settings.mountRoots,
        findCredential,
        log: log.child({ driver: "containers" }),
      }),
    );
  }
  if (settings.libvirtUri !== null) drivers.push(libvirtDriver(settings, settings.libvirtUri, securityGroups, findCredential, log));
  const isElsewhere = settings.libvirtUri !== null && isRemote(settings.libvirtUri);
  // What is started again after a boot would be told by this machine's boots.
  return { drivers, adoption: settings.adoption, ...(isElsewhere ? { readHostFile: null } : {}) };
}

function libvirtDriver(
  settings: DriverSettings,
  uri: string,
  securityGroups: SecurityGroupRules,
  findCredential: FindCredential,
  parentLog: Logger,
): InstanceDriver {
  const { sshIdentity, sshKnownHosts, imageDir, instanceDir, ssdDir, hddDir, imageLimits } = settings;
  const log = parentLog.child({ driver: "libvirt" });
  const client = LibvirtClient.open({
    uri,
    ssh: { identityFile: sshIdentity ?? undefined, knownHostsFile: sshKnownHosts ?? undefined },
    sessionDirectory: sessionDirectory(),
    log,
  });
  const storage = new InstanceStorage({
    client,
    log,
    imageDir,
    instanceDirs: { default: instanceDir, ...(ssdDir === null ? {} : { ssd: ssdDir }), ...(hddDir === null ? {} : { hdd: hddDir }) },
    imageUrlPrefixes: settings.imageUrls,
    findCredential,
    ...(imageLimits === null ? {} : { fetch: { maxDiskBytes: imageLimits.maxDiskBytes }, cleanup: imageLimits }),
  });
  return new LibvirtDriver({
    client,
    storage,
    publicNetwork: settings.publicNetwork,
    securityGroups,
    poolRoots: settings.poolRoots,
    migrationDirectory: join(settings.stateDir, "migrations"),
    probeCache: probeCacheFile(join(settings.stateDir, "boot-probe.json")),
    readHostFile: isRemote(uri) ? null : (path) => readFile(path, "utf8"),
    log,
    onClosed: async () => {
      await storage.close();
      await client.close();
    },
  });
}

function isRemote(uri: string): boolean {
  return /^[a-z]+\+ssh:/.test(uri);
}

/** Where libvirt puts the sockets of this user's own daemon. */
function sessionDirectory(): string {
  const runtime = `/run/user/${userInfo().uid}`;
  return existsSync(runtime) ? join(runtime, "libvirt") : join(homedir(), ".cache", "libvirt");
}

async function readSecurityGroups(file: string | null): Promise<SecurityGroupRules> {
  if (file === null) return new Map();
  const text = await readFile(file, "utf8").catch((cause: Error) => {
    throw new FleetError("INVALID_ARGUMENT", `The security groups (agent.securityGroupsFile) cannot be read: ${cause.message}.`, { cause });
  });
  try {
    return parseSecurityGroups(parseYaml(text));
  } catch (cause) {
    if (cause instanceof FleetError) throw cause;
    throw new FleetError("INVALID_ARGUMENT", `${file} (agent.securityGroupsFile) is no YAML: ${(cause as Error).message}`, { cause });
  }
}
