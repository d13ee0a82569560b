import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { REQUESTED } from "./native-view.ts";
import { type Draft, next, type Plan, show } from "./plan-draft.ts";
import { planStop } from "./plan-stop.ts";

/** Stops it as asked, and removes all of it. A failure is shown, and does not keep it from being tried again. */
export function planDeletion(draft: Draft): Plan {
  const { progress, native, desired } = draft;
  const { failure } = progress;
  if (failure === null) show(draft, InstanceState.STOPPING, REQUESTED);
  else progress.shown = { state: InstanceState.ERROR, reason: failure.reason, message: failure.message, exitCode: null };
  // It was never taken over, and stays whoever's it is.
  if (!progress.made && desired.adoptNativeId !== "" && native?.mark?.instanceId !== desired.instanceId)
    return next(draft, { kind: "forget" });
  if (native !== null) {
    progress.made = true;
    progress.nativeId = native.nativeId;
    const mayAsk = native.state === "RUNNING" || native.state === "STOPPING";
    if (mayAsk && failure === null) return planStop(draft, native, InstanceState.STOPPING, "remove");
    return next(draft, { kind: "remove" });
  }
  if (progress.made || progress.making || progress.leftover) return next(draft, { kind: "remove" });
  return next(draft, { kind: "forget" });
}
