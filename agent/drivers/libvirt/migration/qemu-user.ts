import { userInfo } from "node:os";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { attempt } from "../driver-errors.ts";
import { attribute, element, elements, parseXml, text } from "../xml.ts";
import type { QemuUser } from "./socket-directory.ts";

const LABEL = /^\+?(\d+):\+?(\d+)$/;

/** Whom libvirt runs QEMU as; a daemon that has nothing to choose runs it as itself, which is this user. */
export async function qemuUser(client: LibvirtClient, accelerator: string, signal: AbortSignal): Promise<QemuUser> {
  const { capabilities } = await attempt("read the host's capabilities", () => client.call("connectGetCapabilities", {}, { signal }));
  return readQemuUser(capabilities, accelerator) ?? { uid: userInfo().uid, gid: userInfo().gid };
}

export function readQemuUser(capabilities: string, accelerator: string): QemuUser | null {
  const host = element(parseXml(capabilities, "capabilities"), "host");
  const model = elements(host, "secmodel").find((one) => text(element(one, "model")) === "dac");
  const label = elements(model ?? null, "baselabel").find((one) => attribute(one, "type") === accelerator);
  const match = LABEL.exec(text(label ?? null));
  return match === null ? null : { uid: Number(match[1]), gid: Number(match[2]) };
}
