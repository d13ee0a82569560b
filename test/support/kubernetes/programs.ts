import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { exclusively } from "../../../scripts/lib/exclusive.mjs";
import { whole } from "../rich-guest-build.ts";

const run = promisify(execFile);

/** Outside the clone. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fleetgraph");
/** Scripts that fill a folder with programs: see their README. */
const RECIPES = fileURLToPath(new URL("../../fixtures/kubernetes", import.meta.url));
/** Three minutes on two cores that have nothing else to do. */
const BUILD_MS = 25 * 60_000;
const INSTALLED_PROMETHEUS = "/usr/bin/prometheus";

export interface KubernetesPrograms {
  etcd: string;
  kubeApiserver: string;
  kubectl: string;
  /** Null among KUBEBUILDER_ASSETS, which have none. */
  kubeScheduler: string | null;
}

/** Told of what takes long. */
export type Say = (what: string) => void;

let kubernetes: Promise<KubernetesPrograms> | undefined;
let prometheus: Promise<string> | undefined;

/**
 * A real etcd, kube-apiserver and kubectl: those in the folder KUBEBUILDER_ASSETS where it is set, otherwise v1.20.2, which the first call
 * on this machine builds, in some minutes.
 */
export function kubernetesPrograms(say?: Say): Promise<KubernetesPrograms> {
  kubernetes ??= findKubernetes(say);
  return kubernetes;
}

/** Debian's Prometheus: the installed one, or one that the first call on this machine fetches. */
export function prometheusProgram(say?: Say): Promise<string> {
  prometheus ??= findPrometheus(say);
  return prometheus;
}

async function findKubernetes(say?: Say): Promise<KubernetesPrograms> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets) {
    const missing = ["etcd", "kube-apiserver", "kubectl"].find((name) => !existsSync(join(assets, name)));
    if (missing !== undefined) throw new Error(`${missing} is not in KUBEBUILDER_ASSETS (${assets})`);
    return programsIn(assets);
  }
  return programsIn(await made("kubernetes", "kubernetes-1.20.2", "building kube-apiserver v1.20.2, which takes some minutes", say));
}

async function findPrometheus(say?: Say): Promise<string> {
  if (existsSync(INSTALLED_PROMETHEUS)) return INSTALLED_PROMETHEUS;
  return join(await made("prometheus", "prometheus", "fetching prometheus", say), "prometheus");
}

/** The folder in the cache that the recipe fills, once on this machine; it appears only once it is whole. */
async function made(recipe: string, name: string, what: string, say: Say = () => {}): Promise<string> {
  const folder = join(CACHE, name);
  if (existsSync(folder)) return folder;
  await exclusively(`${folder}.lock`, async () => {
    if (existsSync(folder)) return;
    say(`${what}, for the tests, once on this machine`);
    await whole(folder, (partial) => runRecipe(recipe, partial));
  });
  return folder;
}

async function runRecipe(recipe: string, folder: string): Promise<void> {
  try {
    await run("nice", [join(RECIPES, recipe), folder], { timeout: BUILD_MS, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    // What went wrong first is the reason of the rest.
    const said = stderr.trim() || (error as Error).message;
    throw new Error(`${recipe} could not be made: ${said.replace(/\s+/g, " ").slice(0, 300)}`);
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
