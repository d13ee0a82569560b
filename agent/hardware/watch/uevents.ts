import type { HostCommand } from "../../host/host-channel.ts";

/** What the kernel tells of a device, as `udevadm monitor` prints it. */
export interface Uevent {
  /** "add", "remove", "change", "bind", "unbind", "online", "offline", "move". */
  action: string;
  /** Below /sys: "/devices/pci0000:00/0000:00:04.0/usb1/1-1". */
  devicePath: string;
  /** "usb", "pci", "net", "block", … */
  subsystem: string;
  /** "disk" or "partition" of a block device, "usb_device" or "usb_interface"; empty for most. */
  deviceType: string;
}

/** The kernel's own events, which come whether udev's daemon runs or not. */
export const UEVENT_MONITOR: HostCommand = { program: "udevadm", args: ["monitor", "--kernel", "--property"] };

/** Of an event; far more than any has. */
const MAX_PROPERTIES = 256;

/** Puts the monitor's lines together: a heading, NAME=value lines, an empty line. */
export class UeventLines {
  #properties = new Map<string, string>();

  /** The event that ends with this line. */
  take(line: string): Uevent | null {
    const equals = line.indexOf("=");
    if (equals > 0) {
      if (this.#properties.size < MAX_PROPERTIES) this.#properties.set(line.slice(0, equals), line.slice(equals + 1));
      return null;
    }
    const told = this.#properties;
    if (told.size === 0) return null;
    this.#properties = new Map();
    const of = (name: string) => told.get(name) ?? "";
    const [action, devicePath, subsystem] = [of("ACTION"), of("DEVPATH"), of("SUBSYSTEM")];
    return action === "" || devicePath === "" ? null : { action, devicePath, subsystem, deviceType: of("DEVTYPE") };
  }
}
