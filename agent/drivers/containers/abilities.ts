import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { TypeSupport } from "../instance-driver.ts";
import { EngineRefusal } from "./engine-errors.ts";
import type { EngineInfo, EngineVersion } from "./engine-types.ts";

/** Why containers cannot run: one word, and what to do about it. */
export interface ContainerProblem {
  reason: string;
  message: string;
}

const INSTALL =
  "Install a container engine and start its API. Debian: apt-get install podman runc netavark aardvark-dns, then systemctl enable --now podman.socket; or docker.io.";

/** "podman 4.3.1, runc 1.1.5". */
export function engineText(isPodman: boolean, version: EngineVersion, info: EngineInfo): string {
  const components = version.Components ?? [];
  const runtimeName = info.DefaultRuntime || "runc";
  const runtime = components.find(({ Name }) => Name === runtimeName || Name === `OCI Runtime (${runtimeName})`);
  const runtimeVersion = /\d+(?:\.\d+)+/.exec(runtime?.Version ?? "")?.[0];
  const engine = `${isPodman ? "podman" : "docker"} ${version.Version}`;
  return `${engine}, ${runtimeName}${runtimeVersion === undefined ? "" : ` ${runtimeVersion}`}`;
}

/** Without limits an instance could take what placement has given to others. */
export function hostProblem(info: EngineInfo): ContainerProblem | null {
  if (info.OSType !== "linux")
    return { reason: "OsUnsupported", message: `The container engine runs ${info.OSType} containers; linux is needed.` };
  const missing = [info.CpuCfsQuota ? [] : ["CPU"], info.MemoryLimit ? [] : ["memory"]].flat();
  if (missing.length === 0) return null;
  const message = `The container engine cannot limit ${missing.join(" and ")} (cgroup v${info.CgroupVersion}): boot with the controllers enabled, and let a rootless engine have them (systemd: Delegate=cpu memory).`;
  return { reason: "LimitsUnsupported", message };
}

export function probeProblem(said: string): ContainerProblem {
  return { reason: "ContainersDoNotRun", message: `The container engine answers, but a first container did not run: ${said}` };
}

/** Why the engine is not reached. One whose socket is not there was not installed, or not started. */
export function unreachable(error: Error | null, socketPath: string): ContainerProblem {
  if (error instanceof EngineRefusal) {
    const message = `The container engine does not tell its events: ${error.message}. podman needs events_logger = "file" or "journald" in containers.conf.`;
    return { reason: "EventsUnavailable", message };
  }
  const cause = error?.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown } | null)?.code;
  if (code === "ENOENT") return { reason: "NoDriver", message: `There is no container engine at ${socketPath}. ${INSTALL}` };
  if (code === "EACCES") {
    return {
      reason: "DriverUnreachable",
      message: `The agent may not use the container engine at ${socketPath}: run it as root, or in the socket's group.`,
    };
  }
  const why = error === null ? "it has not answered yet" : error.message;
  return { reason: "DriverUnreachable", message: `The container engine at ${socketPath} cannot be reached: ${why}` };
}

export function supported(engine: string): TypeSupport[] {
  return [{ type: InstanceType.CONTAINER, supported: true, reason: "", message: "", engine }];
}

export function unsupported(problem: ContainerProblem, engine: string): TypeSupport[] {
  return [{ type: InstanceType.CONTAINER, supported: false, ...problem, engine }];
}
