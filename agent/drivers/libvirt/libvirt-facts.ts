import type { LibvirtFacts } from "../../hardware/host-facts.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { type HostAbilities, versionText } from "./abilities.ts";
import { readCapabilities } from "./capabilities.ts";
import { attempt } from "./driver-errors.ts";

/** The boot probe may go on for a minute; what it finds is there the next time. */
const WAIT_FOR_PROBE_MS = 2000;

/** What libvirt says about itself and its host. `abilities`: as they were probed. */
export async function readLibvirtFacts(
  client: LibvirtClient,
  abilities: (signal: AbortSignal) => Promise<HostAbilities>,
  signal: AbortSignal,
): Promise<LibvirtFacts> {
  const [{ type }, { libVer }, { capabilities }] = await attempt("ask libvirt about its host", () =>
    Promise.all([
      client.call("connectGetType", {}, { signal }),
      client.call("connectGetLibVersion", {}, { signal }),
      client.call("connectGetCapabilities", {}, { signal }),
    ]),
  );
  const { hostUuid, guest } = readCapabilities(capabilities);
  // Without an emulator it is an error to ask for its version.
  const version =
    guest === null ? null : await attempt("ask for the hypervisor's version", () => client.call("connectGetVersion", {}, { signal }));
  const probed = await abilities(AbortSignal.any([signal, AbortSignal.timeout(WAIT_FOR_PROBE_MS)])).catch(() => null);
  return {
    hostUuid: hostUuid || null,
    hypervisor: type,
    hypervisorVersion: version && versionText(version.hvVer),
    libvirtVersion: versionText(libVer),
    virtualization: probed?.vm || probed?.microVm ? probed.accelerator : null,
  };
}
