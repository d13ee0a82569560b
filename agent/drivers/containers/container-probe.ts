import { randomBytes } from "node:crypto";
import type { Logger } from "../../../platform/observability/log.ts";
import { PROBE_LABEL } from "./container-mark.ts";
import type { ContainerEngine } from "./engine.ts";
import { EngineRefusal } from "./engine-errors.ts";
import type { EngineInfo } from "./engine-types.ts";
import { hostConfigLimits } from "./limits.ts";
import { PROBE_EXIT_CODE, PROBE_PATH, probeArchive } from "./probe-image.ts";

const REPOSITORY = "localhost/fleetgraph-probe";
const MEMORY_BYTES = 64 * 1024 ** 2;
const RUN_TIMEOUT_MS = 60_000;
const CLEAN_UP_TIMEOUT_MS = 20_000;
/** A probe that is older was left by an agent that died. */
const LEFTOVER_SECONDS = 300;

interface ProbeOptions {
  engine: ContainerEngine;
  isPodman: boolean;
  info: EngineInfo;
  log: Logger;
}

/**
 * Runs a container of a few bytes, with a terminal and limits as instances have them: engines list runtimes that are not installed, and cgroups
 * that the runtime refuses. Null where it runs, or where there is no program for this architecture; otherwise what the engine said. Leaves
 * nothing. UNAVAILABLE where the engine went away.
 */
export async function probeContainers(options: ProbeOptions, signal: AbortSignal): Promise<string | null> {
  const archive = probeArchive(process.arch);
  if (archive === null) return null;
  const { engine } = options;
  const name = `fleetgraph-probe-${randomBytes(6).toString("hex")}`;
  const image = `${REPOSITORY}:${name}`;
  try {
    await removeLeftovers(engine, signal);
    await importImage(options, image, archive, signal);
    await engine.post("/containers/create", { signal, query: { name }, body: probeConfig(image, options.info) });
    await engine.post(`/containers/${name}/start`, { signal, timeoutMs: RUN_TIMEOUT_MS });
    const { StatusCode } = await engine.post<{ StatusCode: number }>(`/containers/${name}/wait`, { signal, timeoutMs: RUN_TIMEOUT_MS });
    return StatusCode === PROBE_EXIT_CODE ? null : `its program ended with exit code ${StatusCode} instead of ${PROBE_EXIT_CODE}`;
  } catch (error) {
    if (error instanceof EngineRefusal) return error.message;
    throw error;
  } finally {
    await cleanUp(options, name, image);
  }
}

function probeConfig(image: string, info: EngineInfo): object {
  const limits = { cpuCores: 1, quota: null, period: null, memoryBytes: MEMORY_BYTES, swapBytes: MEMORY_BYTES, readBps: 0, writeBps: 0 };
  return {
    Image: image,
    Entrypoint: [PROBE_PATH],
    Labels: { [PROBE_LABEL]: "" },
    Tty: true,
    HostConfig: { ...hostConfigLimits(limits, info), NetworkMode: "none", SecurityOpt: ["no-new-privileges"] },
  };
}

/** podman's Docker call leaves a copy of each archive behind. */
async function importImage({ engine, isPodman }: ProbeOptions, image: string, archive: Buffer, signal: AbortSignal): Promise<void> {
  if (isPodman) {
    await engine.podman("POST", "/images/import", { signal, query: { reference: image }, archive });
    return;
  }
  const [repo, tag] = image.split(":");
  await engine.post("/images/create", { signal, query: { fromSrc: "-", repo, tag }, archive });
}

async function removeLeftovers(engine: ContainerEngine, signal: AbortSignal): Promise<void> {
  const isOld = ({ Created }: { Created: number }) => Created < Date.now() / 1000 - LEFTOVER_SECONDS;
  const filters = { label: [PROBE_LABEL] };
  const containers = await engine.get<Array<{ Id: string; Created: number }>>("/containers/json", {
    signal,
    query: { all: true, filters },
  });
  for (const { Id } of containers.filter(isOld)) await engine.delete(`/containers/${Id}`, { signal, query: { force: true, v: true } });
  const images = await engine.get<Array<{ RepoTags: string[] | null; Created: number }>>("/images/json", {
    signal,
    query: { filters: { reference: [REPOSITORY] } },
  });
  for (const tag of images.filter(isOld).flatMap(({ RepoTags }) => RepoTags ?? [])) await engine.delete(`/images/${tag}`, { signal });
}

async function cleanUp({ engine, log }: ProbeOptions, name: string, image: string): Promise<void> {
  // Also after the caller has given up.
  const signal = AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS);
  for (const path of [`/containers/${name}`, `/images/${image}`]) {
    await engine.delete(path, { signal, query: { force: true } }).catch((error: unknown) => {
      if (!(error instanceof EngineRefusal)) log.debug({ err: error, path }, "what is left of a probe is removed by a later one");
    });
  }
}
