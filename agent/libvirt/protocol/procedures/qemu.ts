import { flags, int, optionalString, string } from "../codec.ts";
import { qemu } from "../procedure.ts";
import { domain } from "../structures.ts";

/** What only the QEMU driver has, in a program of its own. Both commands are JSON texts. */
export const QEMU_PROCEDURES = {
  domainQemuMonitorCommand: qemu(1, { dom: domain, cmd: string, flags }, { result: string }),
  /** `timeout` in seconds; −2 waits without an end, −1 is the daemon's default (5 s), 0 does not wait. */
  domainQemuAgentCommand: qemu(3, { dom: domain, cmd: string, timeout: int, flags }, { result: optionalString }),
};
