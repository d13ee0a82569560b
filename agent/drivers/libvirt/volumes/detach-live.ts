import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { AFFECT } from "../../../libvirt/values.ts";
import { precondition } from "../../shared/refusals.ts";
import { attempt, driverError } from "../driver-errors.ts";
import { attribute, element, elements, parseXml } from "../xml.ts";
import { awaitRemoval } from "./removal-wait.ts";

const REMOVAL_MS = 30_000;
/** libvirt waits for the guest for some seconds by itself. */
const DETACH_MS = 30_000;
const KINDS = ["disk", "interface", "hostdev"];

/** Takes a device from a running guest. FAILED_PRECONDITION DeviceBusy where the guest does not let go of it in time (30 s by default). */
export async function detachLive(
  client: LibvirtClient,
  dom: DomainReference,
  alias: string,
  signal: AbortSignal,
  removalMs = REMOVAL_MS,
): Promise<void> {
  const isThere = async () => {
    const { xml } = await attempt("read the domain", () => client.call("domainGetXmlDesc", { dom }, { signal }));
    const devices = element(parseXml(xml, "domain"), "devices");
    return KINDS.some((kind) => elements(devices, kind).some((one) => attribute(element(one, "alias"), "name") === alias));
  };
  using removal = awaitRemoval(client, dom.uuid, alias);
  try {
    await client.call("domainDetachDeviceAlias", { dom, alias, flags: AFFECT.LIVE }, { signal, timeoutMs: DETACH_MS });
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw driverError(error, `detach ${alias}`);
    if (!(await isThere())) return;
    // It was asked for before, and the guest has not answered yet.
    if (!/in the process of unplug/i.test(error.message)) {
      throw /rejected by the guest/i.test(error.message) ? deviceBusy(alias, "refused to") : driverError(error, `detach ${alias}`);
    }
  }
  // libvirt itself waits a little; mostly it is gone by now.
  if (!(await isThere())) return;
  const told = await removal.within(removalMs, signal);
  if (told === "removed" || !(await isThere())) return;
  throw deviceBusy(alias, told === "refused" ? "refused to" : "did not");
}

function deviceBusy(alias: string, how: string): FleetError {
  const name = alias.replace(/^ua-[a-z]+-/, "");
  return precondition("DeviceBusy", `The guest ${how} let go of ${name} in time: unmount it there, and see that the guest runs.`, {
    device: name,
  });
}
