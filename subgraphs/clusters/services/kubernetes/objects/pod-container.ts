import { type ResourceAmounts, resourceAmounts } from "./quantities.ts";

/** Where a variable's value comes from. Of all but VALUE, nothing is read. */
export const ENV_SOURCES = ["VALUE", "CONFIG_MAP", "SECRET", "FIELD", "RESOURCE"] as const;
export type EnvSource = (typeof ENV_SOURCES)[number];

interface KeyReference {
  name?: string;
  key: string;
}

interface RawVariable {
  name: string;
  value?: string;
  valueFrom?: {
    configMapKeyRef?: KeyReference;
    secretKeyRef?: KeyReference;
    fieldRef?: { fieldPath: string };
    resourceFieldRef?: { containerName?: string; resource: string };
  };
}

export interface RawContainer {
  name: string;
  image?: string;
  env?: RawVariable[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

interface RawState {
  running?: { startedAt?: string | null };
  waiting?: { reason?: string; message?: string };
  terminated?: { exitCode: number; reason?: string; message?: string; startedAt?: string | null; finishedAt?: string | null };
}

export interface RawContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  state?: RawState;
  lastState?: RawState;
}

export interface EnvironmentVariable {
  name: string;
  source: EnvSource;
  /** What it is taken from; null for VALUE. */
  reference: string | null;
  /** Of VALUE only. Rights: operator. */
  literal: string | null;
}

export interface ContainerView {
  name: string;
  image: string | null;
  ready: boolean;
  restarts: number;
  /** "Running", "Waiting" or "Terminated". */
  state: string | null;
  reason: string | null;
  message: string | null;
  startedAt: string | null;
  exitCode: number | null;
  lastEndReason: string | null;
  resources: { requests: ResourceAmounts | null; limits: ResourceAmounts | null };
  env: EnvironmentVariable[];
}

/** What was asked for, with what its kubelet says of it, which may be nothing yet. */
export function containerView(container: RawContainer, statuses: readonly RawContainerStatus[] | null | undefined): ContainerView {
  const status = statuses?.find(({ name }) => name === container.name);
  const { running, waiting, terminated } = status?.state ?? {};
  const end = terminated ?? status?.lastState?.terminated;
  return {
    name: container.name,
    image: container.image || null,
    ready: status?.ready ?? false,
    restarts: status?.restartCount ?? 0,
    state: stateName(status?.state),
    reason: (waiting ?? terminated)?.reason || null,
    message: (waiting ?? terminated)?.message || null,
    startedAt: (running ?? terminated)?.startedAt ?? null,
    exitCode: end?.exitCode ?? null,
    lastEndReason: end?.reason || null,
    resources: { requests: resourceAmounts(container.resources?.requests), limits: resourceAmounts(container.resources?.limits) },
    env: (container.env ?? []).map(variableView),
  };
}

function stateName(state: RawState | undefined): string | null {
  if (state?.running) return "Running";
  if (state?.terminated) return "Terminated";
  return state?.waiting ? "Waiting" : null;
}

function variableView({ name, value, valueFrom }: RawVariable): EnvironmentVariable {
  if (!valueFrom) return { name, source: "VALUE", reference: null, literal: value ?? "" };
  const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef } = valueFrom;
  if (configMapKeyRef) return { name, source: "CONFIG_MAP", reference: keyOf(configMapKeyRef), literal: null };
  if (secretKeyRef) return { name, source: "SECRET", reference: keyOf(secretKeyRef), literal: null };
  if (resourceFieldRef) return { name, source: "RESOURCE", reference: resourceFieldRef.resource, literal: null };
  return { name, source: "FIELD", reference: fieldRef?.fieldPath ?? null, literal: null };
}

function keyOf({ name, key }: KeyReference): string {
  return `${name ?? ""}/${key}`;
}
