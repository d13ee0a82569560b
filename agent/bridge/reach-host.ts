import { mkdir } from "node:fs/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { BridgedHost, HostAccess } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { FindCredential } from "../drivers/image-driver.ts";
import { type DriverSettings, openDistantDrivers } from "../drivers/open-drivers.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { openSshHost, type SshHost, type SshHostOptions } from "../host/ssh/ssh-host.ts";
import { LibvirtClient } from "../libvirt/client.ts";
import { parseLibvirtUri, type SshWay } from "../libvirt/transport/libvirt-uri.ts";
import type { ReachHost } from "./open-bridged-node.ts";
import type { ReachedHost } from "./reached-host.ts";

const DEFAULT_USER = "root";

/** The ways to hosts without an agent, as this agent is configured. `findCredential`: of registries, for images. */
export function hostReacher(settings: DriverSettings, findCredential: FindCredential, parentLog: Logger): ReachHost {
  return ({ nodeId, hostname, access }: BridgedHost, directory) => {
    if (access === undefined) throw new FleetError("INVALID_ARGUMENT", "The control plane did not say how the host is reached.");
    const log = parentLog.child({ nodeId, hostname });
    const { way } = parseLibvirtUri(access.uri);
    const openInstances = async (host: SshHost | null) => {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return await openDistantDrivers(settings, { uri: access.uri, host, stateDir: directory }, log, findCredential);
    };
    return way.kind === "ssh" ? overSsh(way, access, openInstances, log) : overSocket(access.uri, openInstances, log);
  };
}

/** What ssh2 is told about a host; all of it stays in memory. */
export function sshOptions(way: SshWay, access: HostAccess, log: Logger): SshHostOptions {
  return {
    host: way.host,
    port: way.port ?? undefined,
    user: way.user ?? DEFAULT_USER,
    password: access.password || undefined,
    privateKey: access.privateKey || undefined,
    passphrase: access.passphrase || undefined,
    hostKeys: access.hostKeys,
    log,
  };
}

type OpenInstances = (host: SshHost | null) => ReturnType<ReachedHost["openInstances"]>;

function overSsh(way: SshWay, access: HostAccess, openInstances: OpenInstances, log: Logger): ReachedHost {
  const host = openSshHost(sshOptions(way, access, log));
  return {
    channel: host,
    unreachable: () => (host.connected ? null : (host.lastError?.message ?? "The host has not answered yet.")),
    onChange: (listener) => host.onConnectionChange(listener),
    openInstances: () => openInstances(host),
    close: () => host.close(),
  };
}

/** Through a socket of this machine, at whose other end is another machine's libvirt: there is no shell. */
function overSocket(uri: string, openInstances: OpenInstances, log: Logger): ReachedHost {
  const client = LibvirtClient.open({ uri, log });
  return {
    channel: new LibvirtOnlyHost(client),
    unreachable: () => (client.connected ? null : (client.lastError?.message ?? "libvirt has not answered yet.")),
    onChange: (listener) => client.onConnectionChange(listener),
    openInstances: () => openInstances(null),
    close: () => client.close(),
  };
}
