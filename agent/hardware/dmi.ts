import type { BoardInfo, FirmwareInfo, SystemInfo } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import type { Unavailable } from "./unavailable.ts";

export const DMI_DIRECTORY = "/sys/class/dmi/id";
const EFI = "/sys/firmware/efi";

export const DMI_PATHS = [
  DMI_DIRECTORY,
  ...["bios_vendor", "bios_version", "bios_date", "board_*", "sys_vendor", "product_*"].map((file) => `${DMI_DIRECTORY}/${file}`),
  EFI,
];

/** What makers leave in fields that they did not fill in. */
const FILLERS =
  /^(?:|none|default string|not (?:specified|applicable|available|present)|n\/?a|unknown|to be filled by o\.?e\.?m\.?|o\.e\.m\.|oem|system (?:manufacturer|product name|version|serial number)|x\.x|0+|\.+|-+|0123456789|123456789|invalid)$/i;

export interface MachineInfo {
  firmware: FirmwareInfo | undefined;
  board: BoardInfo | undefined;
  system: SystemInfo | undefined;
}

/** Whether a field of DMI, without white space around it, says anything. */
export function isFilledIn(text: string): boolean {
  return !FILLERS.test(text);
}

/** The machine as its firmware describes it; all undefined, with the reason, where it describes nothing. */
export async function readMachine(host: HostChannel, unavailable: Unavailable): Promise<MachineInfo> {
  const text = (file: string, field: string) => readDmi(host, file, field, unavailable);
  const type = await readFirmwareType(host);
  const described = await unavailable.attempt("system", () => host.list(DMI_DIRECTORY));
  if (described === undefined) {
    const reason = "The host has no DMI, by which firmware describes a machine.";
    unavailable.add("board", "NOT_PRESENT", reason);
    if (type === "") unavailable.add("firmware", "NOT_PRESENT", reason);
    return { firmware: type === "" ? undefined : { type }, board: undefined, system: undefined };
  }
  return {
    firmware: {
      // DMI without EFI is what a PC's BIOS leaves.
      type: type || "BIOS",
      vendor: await text("bios_vendor", "firmware.vendor"),
      version: await text("bios_version", "firmware.version"),
      releaseDate: await text("bios_date", "firmware.releaseDate"),
    },
    board: {
      vendor: await text("board_vendor", "board.vendor"),
      name: await text("board_name", "board.name"),
      version: await text("board_version", "board.version"),
      serial: await text("board_serial", "board.serial"),
    },
    system: {
      vendor: await text("sys_vendor", "system.vendor"),
      product: await text("product_name", "system.product"),
      version: await text("product_version", "system.version"),
      serial: await text("product_serial", "system.serial"),
      uuid: (await text("product_uuid", "system.uuid"))?.toLowerCase(),
    },
  };
}

/** One field of DMI; undefined, with the reason, where it is not there, not readable, or was never filled in. */
export function readDmi(host: HostChannel, file: string, field: string, unavailable: Unavailable): Promise<string | undefined> {
  return unavailable.attempt(field, async () => {
    const path = `${DMI_DIRECTORY}/${file}`;
    const text = (await host.read(path)).trim();
    if (!isFilledIn(text)) throw new HostReadError("NOT_SUPPORTED", path, `The maker left ${path} empty (${JSON.stringify(text)}).`);
    return text;
  });
}

async function readFirmwareType(host: HostChannel): Promise<"UEFI" | ""> {
  try {
    await host.list(EFI);
    return "UEFI";
  } catch (error) {
    if (error instanceof HostReadError) return "";
    throw error;
  }
}
