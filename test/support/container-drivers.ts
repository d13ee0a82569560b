import { openDrivers } from "../../agent/drivers/open-drivers.ts";
import type { AgentOptions } from "../../agent/main.ts";

/** What an agent needs to run containers alone, on the engine behind a socket. */
export function containerDrivers(containerSocket: string, stateDir: string, adoption = true): NonNullable<AgentOptions["openInstances"]> {
  const unused = {
    libvirtUri: null,
    ssdDir: null,
    hddDir: null,
    publicNetwork: null,
    securityGroupsFile: null,
  };
  const settings = {
    ...unused,
    containerSocket,
    imageDir: "/nonexistent",
    instanceDir: "/nonexistent",
    imageUrls: [],
    imageLimits: null,
    mountRoots: [],
    poolRoots: [],
    adoption,
    stateDir,
  };
  return (log, findCredential) => openDrivers(settings, log, findCredential);
}
