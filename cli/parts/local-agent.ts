import { hostReacher } from "../../agent/bridge/reach-host.ts";
import { type DriverSettings, openDrivers } from "../../agent/drivers/open-drivers.ts";
import { type AgentOptions, type RunningAgent, startAgent } from "../../agent/main.ts";
import type { Config } from "../../platform/config/settings.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { listening } from "../process/start-error.ts";

/** Starts the agent of this machine as configured, and stops it with the process. */
export async function startLocalAgent(
  { config, log, metrics, lifecycle }: ProcessContext,
  join: Pick<AgentOptions, "controlPlane" | "joinToken" | "signal">,
): Promise<RunningAgent> {
  const [host, port] = [config["agent.host"], config["agent.port"]];
  const agent = await listening({ host, port, hostKey: "agent.host", portKey: "agent.port" }, () =>
    startAgent({
      ...join,
      stateDir: config["agent.stateDir"],
      listen: { host, port },
      hostname: config["agent.hostname"] ?? undefined,
      address: config["agent.address"] ?? undefined,
      openInstances: (agentLog, findCredential) => openDrivers(driverSettings(config), agentLog, findCredential),
      hostReacher: (findCredential, agentLog) => hostReacher(driverSettings(config), findCredential, agentLog),
      shell: config["agent.shell"],
      allow: { power: config["agent.power"], devices: config["agent.devices"], bridging: config["agent.bridging"] },
      libvirtUri: config["agent.libvirtUri"] === "none" ? undefined : config["agent.libvirtUri"],
      smartIntervalMs: config["agent.smartInterval"] * 1000,
      journalDirectory: config["agent.journalDir"] ?? undefined,
      log: log.child({ part: "agent" }),
      metrics,
    }),
  );
  lifecycle.onStop("agent", () => agent.stop());
  return agent;
}

function driverSettings(config: Config): DriverSettings {
  const libvirtUri = config["agent.libvirtUri"];
  return {
    libvirtUri: libvirtUri === "none" ? null : libvirtUri,
    containerSocket: config["agent.containerSocket"],
    imageDir: config["agent.imageDir"],
    instanceDir: config["agent.instanceDir"],
    ssdDir: config["agent.ssdDir"],
    hddDir: config["agent.hddDir"],
    imageUrls: config["agent.imageUrls"],
    imageLimits: {
      maxDiskBytes: config["agent.imageMaxDiskBytes"],
      retentionDays: config["agent.imageRetentionDays"],
      minFreeBytes: config["agent.imageMinFreeBytes"],
    },
    mountRoots: config["agent.mountRoots"],
    poolRoots: config["agent.poolRoots"],
    publicNetwork: config["agent.publicNetwork"],
    securityGroupsFile: config["agent.securityGroupsFile"],
    adoption: config["agent.adoption"],
    stateDir: config["agent.stateDir"],
  };
}
