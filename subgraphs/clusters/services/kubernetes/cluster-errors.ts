import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";

/** NOT_FOUND that names the field, as every refusal of input does. */
export function clusterNotFound(id: string, field = "id"): FleetError {
  const shown = id.slice(0, 128);
  return new FleetError("NOT_FOUND", `Kubernetes cluster ${JSON.stringify(shown)} does not exist.`, {
    details: { field, kind: "KubernetesCluster", id: shown },
  });
}

export function clusterDeleted(id: string): FleetError {
  return new FleetError("NOT_FOUND", "This Kubernetes cluster was deleted.", {
    reason: "ClusterDeleted",
    details: { kind: "KubernetesCluster", id },
  });
}

export function clusterDisabled(id: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", "This Kubernetes cluster is disabled; an admin can enable it (enableKubernetesCluster).", {
    reason: "ClusterDisabled",
    details: { id, state: "DISABLED" },
  });
}

/** For what was going on with the former access: it may have been to another cluster, so nothing that was read before counts. */
export function clusterAccessChanged(id: string): FleetError {
  return new FleetError("CURSOR_EXPIRED", "The access to this Kubernetes cluster was changed: list again.", {
    reason: "ClusterAccessChanged",
    details: { id },
  });
}

/** As the seed has it: a bad request. */
export function nameTaken(name: string): FleetError {
  return invalidArgument("name", `Another Kubernetes cluster is named ${JSON.stringify(name)}.`, { reason: "NameTaken" });
}

export function defaultInUse(id: string): FleetError {
  return new FleetError(
    "FAILED_PRECONDITION",
    "This is the default cluster: make another the default first (setDefaultKubernetesCluster).",
    { reason: "DefaultCluster", details: { id } },
  );
}

/** Somebody else changed the access while this change of it was tested. */
export function changedMeanwhile(id: string): FleetError {
  return new FleetError("CONFLICT", "The access to this cluster was changed by somebody else meanwhile: look at it, and try again.", {
    reason: "ClusterAccessChanged",
    details: { id },
  });
}
