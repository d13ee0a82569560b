/** The parts of the engine's answers that the agent reads. Docker's API 1.41 and podman 4 give all of them, unless marked. */

export interface InspectedContainer {
  Id: string;
  Name: string;
  Image: string;
  State: {
    /** created, running, paused, restarting, removing, exited, dead; podman has initialized, stopping and stopped besides. */
    Status: string;
    OOMKilled: boolean;
    /** 0: none. */
    Pid: number;
    ExitCode: number;
    /** Docker: why the last start failed. */
    Error: string;
    /** RFC 3339; the year 1: never. */
    StartedAt: string;
    FinishedAt: string;
  };
  HostConfig: {
    NanoCpus?: number;
    CpuQuota?: number;
    CpuPeriod?: number;
    Memory?: number;
    AutoRemove?: boolean;
    RestartPolicy?: { Name: string } | null;
  };
  Config: {
    Labels?: Record<string, string> | null;
    /** SIGTERM or 15; empty: SIGTERM. */
    StopSignal?: string;
    Tty?: boolean;
    OpenStdin?: boolean;
  };
  NetworkSettings?: {
    IPAddress?: string;
    GlobalIPv6Address?: string;
    Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string } | null> | null;
  };
  Mounts?: Array<{ Type: string; Source: string; Destination: string }> | null;
}

export interface ListedContainer {
  Id: string;
  /** Docker begins them with a slash. */
  Names: string[];
  State: string;
  Labels?: Record<string, string> | null;
  ImageID?: string;
  /** podman: of its process, 0 where none is known. */
  Pid?: number;
}

export interface ListedImage {
  Id: string;
  RepoTags?: string[] | null;
  RepoDigests?: string[] | null;
  /** Seconds since the epoch. */
  Created: number;
  Size: number;
  Labels?: Record<string, string> | null;
}

export interface InspectedImage {
  Id: string;
  Config?: { Entrypoint?: string | string[] | null; Cmd?: string[] | null } | null;
}

export interface ListedNetwork {
  Name: string;
  Driver: string;
  IPAM?: { Config?: Array<{ Subnet?: string }> | null } | null;
}

export interface EngineVersion {
  Version: string;
  Components?: Array<{ Name: string; Version: string }>;
}

export interface EngineInfo {
  OSType: string;
  NCPU: number;
  /** Where images and containers are. */
  DockerRootDir: string;
  CpuCfsQuota: boolean;
  MemoryLimit: boolean;
  SwapLimit: boolean;
  PidsLimit: boolean;
  LoggingDriver: string;
  DefaultRuntime: string;
  CgroupVersion: string;
}

export interface EngineEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes?: Record<string, string> | null };
  /** Nanoseconds since the epoch, as near as a double gets. */
  timeNano: number;
}
