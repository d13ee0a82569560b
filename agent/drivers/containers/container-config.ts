import type { InstancePlan } from "../instance-driver.ts";
import { hostname, markLabels } from "./container-mark.ts";
import type { EngineInfo } from "./engine-types.ts";
import { hostConfigLimits, type Limits } from "./limits.ts";
import type { ContainerMount } from "./mounts.ts";

/** What `POST /containers/create` takes, as far as the agent uses it. */
export interface ContainerConfig {
  Image: string;
  Entrypoint?: string[];
  Cmd?: string[];
  Hostname: string;
  Env: string[];
  Labels: Record<string, string>;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  HostConfig: Record<string, unknown>;
}

/** What was found out about the host for a plan. */
export interface ContainerHost {
  info: Pick<EngineInfo, "SwapLimit" | "PidsLimit" | "LoggingDriver">;
  isPodman: boolean;
  image: string;
  limits: Limits;
  mounts: readonly ContainerMount[];
  networkMode: string;
  /** That the container's files are on; needed for limits of reading and writing. */
  blockDevice: string | null;
}

/** A fork bomb ends here; a busy server does not. */
const PIDS_LIMIT = 4096;
/** What a container says is kept up to this size, then from the beginning again. */
const LOG_BYTES = 16 * 1024 ** 2;
/** Loggers that write files, and take a size. */
const FILE_LOGGERS: ReadonlySet<string> = new Set(["", "json-file", "k8s-file", "local"]);

/**
 * A plan as the engine takes it. `command` and `args` mean what they mean in Kubernetes: they replace the image's entrypoint and its command;
 * with `command` alone the image's command is left out. The container has a terminal and an open input, because a console can only be
 * attached to what was made with them: its output and errors are one stream, and its lines end as a terminal's do.
 */
export function containerConfig(plan: InstancePlan, host: ContainerHost): ContainerConfig {
  const { command, args, env } = plan.spec;
  return {
    Image: host.image,
    ...(command.length > 0 ? { Entrypoint: command } : {}),
    ...(args.length > 0 ? { Cmd: args } : {}),
    Hostname: hostname(plan.name, plan.instanceId),
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    Labels: markLabels(plan),
    Tty: true,
    OpenStdin: true,
    // Whoever attaches first may leave, and another one come.
    StdinOnce: false,
    HostConfig: hostConfig(host),
  };
}

function hostConfig({ info, isPodman, limits, mounts, networkMode, blockDevice }: ContainerHost): Record<string, unknown> {
  const rate = (bps: number) => (bps === 0 || blockDevice === null ? [] : [{ Path: blockDevice, Rate: bps }]);
  const logsToFile = isPodman || FILE_LOGGERS.has(info.LoggingDriver);
  return {
    ...hostConfigLimits(limits, info),
    ...(info.PidsLimit ? { PidsLimit: PIDS_LIMIT } : {}),
    ...(logsToFile ? { LogConfig: { Type: info.LoggingDriver, Config: { "max-size": String(LOG_BYTES) } } } : {}),
    BlkioDeviceReadBps: rate(limits.readBps),
    BlkioDeviceWriteBps: rate(limits.writeBps),
    Mounts: mounts,
    NetworkMode: networkMode,
    // The agent decides what runs, and it alone.
    RestartPolicy: { Name: "no" },
    AutoRemove: false,
    Privileged: false,
    SecurityOpt: ["no-new-privileges"],
  };
}
