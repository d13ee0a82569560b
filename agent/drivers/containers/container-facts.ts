import type { InstanceMark } from "../instance-driver.ts";
import { isProbe, readMark } from "./container-mark.ts";
import type { InspectedContainer, ListedContainer } from "./engine-types.ts";

/** What the engine says about a container, as far as the agent needs it. */
export interface ContainerFacts {
  id: string;
  name: string;
  /** By its labels. */
  mark: InstanceMark | null;
  isProbe: boolean;
  /** The engine's word; see InspectedContainer. */
  status: string;
  /** 0: none is known. */
  pid: number;
  /** As the kernel has it, of one that runs; null: it cannot be told. */
  frozen: boolean | null;
  exitCode: number;
  oomKilled: boolean;
  /** Why the last start failed, where the engine keeps that. */
  startError: string;
  startedAt: Date | null;
  finishedAt: Date | null;
  /** 0: no limit. */
  cpuCores: number;
  /** 0: no limit. */
  memoryBytes: number;
  ipAddresses: readonly string[];
  /** As the engine takes it: SIGTERM, 15. */
  stopSignal: string;
  restartPolicy: string;
  autoRemove: boolean;
  /** What it has mounted from the host. */
  bindSources: readonly string[];
  /** It was made with a terminal. */
  tty: boolean;
  /** It was made with an input that can be attached to. */
  openInput: boolean;
}

export function containerFacts(inspected: InspectedContainer, frozen: boolean | null = null): ContainerFacts {
  const { Id, Name, State, HostConfig, Config, Mounts } = inspected;
  return {
    id: Id,
    name: plainName(Name),
    mark: readMark(Config.Labels),
    isProbe: isProbe(Config.Labels),
    status: State.Status,
    pid: State.Pid,
    frozen,
    exitCode: State.ExitCode,
    oomKilled: State.OOMKilled,
    startError: State.Error,
    startedAt: time(State.StartedAt),
    finishedAt: time(State.FinishedAt),
    cpuCores: cores(HostConfig),
    memoryBytes: HostConfig.Memory ?? 0,
    ipAddresses: addresses(inspected),
    stopSignal: Config.StopSignal || "SIGTERM",
    restartPolicy: HostConfig.RestartPolicy?.Name || "no",
    autoRemove: HostConfig.AutoRemove === true,
    bindSources: (Mounts ?? []).filter(({ Type }) => Type === "bind").map(({ Source }) => Source),
    tty: Config.Tty === true,
    openInput: Config.OpenStdin === true,
  };
}

/** Of one that the engine lists and cannot describe: it was interrupted while it removed it. */
export function listedFacts({ Id, Names, State, Labels, Pid }: ListedContainer): ContainerFacts {
  return {
    id: Id,
    name: plainName(Names[0] ?? Id),
    mark: readMark(Labels),
    isProbe: isProbe(Labels),
    status: State,
    pid: Pid ?? 0,
    frozen: null,
    exitCode: 0,
    oomKilled: false,
    startError: "",
    startedAt: null,
    finishedAt: null,
    cpuCores: 0,
    memoryBytes: 0,
    ipAddresses: [],
    stopSignal: "SIGTERM",
    restartPolicy: "no",
    autoRemove: false,
    bindSources: [],
    tty: false,
    openInput: false,
  };
}

/** The engine began to start it and did not come to the end; its process may run, and the engine not know it. */
export function isHalfStarted({ status, pid }: Pick<ContainerFacts, "status" | "pid">): boolean {
  return (status === "created" || status === "initialized") && pid !== 0;
}

export function isRunning({ status }: Pick<ContainerFacts, "status">): boolean {
  return status === "running" || status === "paused" || status === "restarting";
}

/** Frozen or not, by the kernel's word where there is one: the engine's may be that of before it was killed. */
export function isPaused({ status, frozen }: Pick<ContainerFacts, "status" | "frozen">): boolean {
  return (status === "paused" || status === "running") && (frozen ?? status === "paused");
}

function plainName(name: string): string {
  return name.replace(/^\//, "");
}

/** The engines write the year 1 for what was not yet. */
function time(text: string): Date | null {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() < 1970 ? null : date;
}

function cores({ NanoCpus = 0, CpuQuota = 0, CpuPeriod = 0 }: InspectedContainer["HostConfig"]): number {
  if (NanoCpus > 0) return NanoCpus / 1e9;
  return CpuQuota > 0 && CpuPeriod > 0 ? CpuQuota / CpuPeriod : 0;
}

function addresses({ NetworkSettings: settings }: InspectedContainer): string[] {
  const found = [settings, ...Object.values(settings?.Networks ?? {})].flatMap((network) => [
    network?.IPAddress,
    network?.GlobalIPv6Address,
  ]);
  return [...new Set(found.filter((address) => address !== undefined && address !== ""))] as string[];
}
