import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { parse as parseYaml } from "yaml";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { LocalHost } from "../host/local.ts";
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
  const { libvirtUri: uri, stateDir } = settings;
  if (uri !== null) drivers.push(libvirtDriver(settings, { uri, stateDir, securityGroups, findCredential, log }));
  return { drivers, adoption: settings.adoption };
}

/** The libvirt of another machine. */
export interface DistantLibvirt {
  uri: string;
  /** The way to that machine; null: the URI is a socket of this one, at whose other end is whoever. The caller's to close. */
  host: HostChannel | null;
  /** For what is kept of it here. */
  stateDir: string;
}

/** What runs VMs on a host without an agent. Its container engine, if it has one, is left alone. Throws as `openDrivers`. */
export async function openDistantDrivers(
  settings: DriverSettings,
  { uri, host, stateDir }: DistantLibvirt,
  log: Logger,
  findCredential: FindCredential,
): Promise<InstanceSettings> {
  const securityGroups = await readSecurityGroups(settings.securityGroupsFile);
  const driver = libvirtDriver(settings, { uri, stateDir, securityGroups, findCredential, log, distant: { host } });
  return { drivers: [driver], adoption: settings.adoption, readHostFile: host === null ? null : (path) => host.read(path) };
}

interface LibvirtParts {
  uri: string;
  stateDir: string;
  securityGroups: SecurityGroupRules;
  findCredential: FindCredential;
  log: Logger;
  /** Left out: libvirt runs on this machine. */
  distant?: { host: HostChannel | null };
}

function libvirtDriver(settings: DriverSettings, parts: LibvirtParts): InstanceDriver {
  const { imageDir, instanceDir, ssdDir, hddDir, imageLimits } = settings;
  const { uri, stateDir, securityGroups, findCredential, distant } = parts;
  const log = parts.log.child({ driver: "libvirt" });
  const host = distant?.host ?? null;
  const client = LibvirtClient.open({ uri, sessionDirectory: sessionDirectory(), ...(host && { host }), log });
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
    // The sockets of a migration are those of libvirt's own machine.
    migrationDirectory: distant === undefined ? join(stateDir, "migrations") : null,
    probeCache: probeCacheFile(join(stateDir, "boot-probe.json")),
    isLocal: distant === undefined,
    host: distant === undefined ? new LocalHost() : host,
    readHostFile: hostFileReader(distant),
    log,
    onClosed: async () => {
      await storage.close();
      await client.close();
    },
  });
}

function hostFileReader(distant: LibvirtParts["distant"]): ((path: string) => Promise<string>) | null {
  if (distant === undefined) return (path) => readFile(path, "utf8");
  const { host } = distant;
  return host === null ? null : (path) => host.read(path);
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
