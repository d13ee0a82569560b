import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { exclusively } from "../../../scripts/lib/exclusive.mjs.mts";
import { whole } from "../rich-guest-build.ts";

const run = promisify(execFile);

/** Outside the clone. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fleetgraph");
const BUILT = join(CACHE, "kubernetes-1.20.2");
const RECIPE = fileURLToPath(new URL("../../fixtures/kubernetes/build", import.meta.url));
/** Three minutes on two cores. */
const BUILD_MS = 25 * 60_000;

export interface KubernetesPrograms {
  etcd: string;
  kubeApiserver: string;
  kubectl: string;
  /** Null among KUBEBUILDER_ASSETS, which have none. */
  kubeScheduler: string | null;
}

let programs: Promise<KubernetesPrograms> | undefined;

/**
 * A real etcd, kube-apiserver and kubectl: those in the folder KUBEBUILDER_ASSETS where it is set, otherwise v1.20.2, which the first call on
 * this machine builds (`say` is told; some minutes).
 */
export function kubernetesPrograms(say: (what: string) => void = () => {}): Promise<KubernetesPrograms> {
  programs ??= find(say);
  return programs;
}

async function find(say: (what: string) => void): Promise<KubernetesPrograms> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets) {
    const missing = ["etcd", "kube-apiserver", "kubectl"].find((name) => !existsSync(join(assets, name)));
    if (missing !== undefined) throw new Error(`${missing} is not in KUBEBUILDER_ASSETS (${assets})`);
    return programsIn(assets);
  }
  if (!existsSync(BUILT)) {
    await exclusively(join(CACHE, "kubernetes-1.20.2.lock"), async () => {
      if (existsSync(BUILT)) return;
      say("building kube-apiserver v1.20.2 for the tests, once on this machine: some minutes");
      await whole(BUILT, build);
    });
  }
  return programsIn(BUILT);
}

async function build(folder: string): Promise<void> {
  try {
    await run("nice", [RECIPE, folder], { timeout: BUILD_MS, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    throw new Error(`kube-apiserver could not be built: ${stderr.trim().slice(-500) || (error as Error).message}`);
  }
}

function programsIn(folder: string): KubernetesPrograms {
  const scheduler = join(folder, "kube-scheduler");
  return {
    etcd: join(folder, "etcd"),
    kubeApiserver: join(folder, "kube-apiserver"),
    kubectl: join(folder, "kubectl"),
    kubeScheduler: existsSync(scheduler) ? scheduler : null,
  };
}
