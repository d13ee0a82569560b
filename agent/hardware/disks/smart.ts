import type { Disk, DiskInventory, SmartHealth } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type HostChannel, type HostCommand, HostReadError, type UnreadableReason } from "../../host/host-channel.ts";
import { mapBounded } from "../read-optional.ts";
import { healthOf } from "./smart-health.ts";
import { parseSmartctl, type SmartctlReport } from "./smartctl-report.ts";

/** Some bridges and drives take seconds for each of smartctl's questions. */
const TIMEOUT_MS = 30_000;
const AT_ONCE = 2;
/** What kinds of disks have no SMART data, or none that smartctl can ask for. */
const WITHOUT_SMART = new Set(["virtio", "mmc", "xen", "nvdimm"]);
/** What one disk says so is so for every other disk of the host. */
const OF_THE_HOST: ReadonlySet<UnreadableReason> = new Set(["NOT_INSTALLED", "NO_SHELL", "HOST_UNREACHABLE"]);
/** Bits of smartctl's exit code: it was called wrongly, or the disk could not be opened or sleeps. */
const NO_ANSWER = 0b11;

/** What smartctl told of one disk. */
export interface SmartReading {
  /** Undefined where there is none: `failure` says why. */
  smart: SmartHealth | undefined;
  failure: { reason: UnreadableReason; message: string } | undefined;
  /** Of the disk that was asked, as the kernel tells it. */
  askedSerial: string | undefined;
  /** As it writes itself: smartctl asks the disk, everything else asks the kernel. */
  told: Pick<Disk, "model" | "serial" | "firmware" | "rotationRpm" | "interfaceSpeed">;
}

/** By the disk's name ("sda"). */
export type SmartReadings = ReadonlyMap<string, SmartReading>;

export interface SmartOptions {
  /** Of the reading before: kept for a disk that sleeps, which is not woken. */
  previous?: SmartReadings;
  signal?: AbortSignal;
}

/** Asks every disk, two at a time, each for 30 s at most. Not of a snapshot: what is asked depends on the disks. Throws for an abort only. */
export async function readSmart(host: HostChannel, disks: readonly Disk[], options: SmartOptions = {}): Promise<SmartReadings> {
  let ofTheHost: SmartReading | undefined;
  const readings = await mapBounded(disks, AT_ONCE, async (disk): Promise<[string, SmartReading]> => {
    if (WITHOUT_SMART.has(disk.transport)) return [disk.name, failed("NOT_SUPPORTED", `A ${disk.transport} disk has no SMART data.`)];
    if (ofTheHost !== undefined) return [disk.name, ofTheHost];
    const reading = { ...(await readOne(host, disk.name, options)), askedSerial: disk.serial };
    if (reading.failure !== undefined && OF_THE_HOST.has(reading.failure.reason)) ofTheHost = reading;
    return [disk.name, reading];
  });
  return new Map(readings);
}

/** The inventory with what smartctl told; a reading of another disk that had the name before is not used. */
export function withSmart(inventory: DiskInventory, readings: SmartReadings): DiskInventory {
  const fields = new Map(inventory.unavailable.map((entry) => [entry.field, entry]));
  const disks = inventory.disks.map((disk, index) => {
    const reading = readings.get(disk.name);
    const { smart, failure, told } = reading !== undefined && isOf(disk, reading) ? reading : NOT_ASKED;
    const field = `disks[${index}].smart`;
    if (smart === undefined && failure !== undefined) fields.set(field, { field, ...failure });
    // A bridge to USB has a serial number of its own, by which the kernel knows the disk.
    const known = Object.entries({ ...told, serial: disk.serial ?? told.serial }).filter(([, value]) => value !== undefined);
    for (const [key] of known) fields.delete(`disks[${index}].${key}`);
    return { ...disk, ...Object.fromEntries(known), smart };
  });
  return { disks, unavailable: [...fields.values()] };
}

/** Without small changes of what is free, which never rests: for telling whether there is something to report. */
export function steadyDisks(inventory: DiskInventory): DiskInventory {
  const steady = <T extends Pick<Disk, "fileSystem">>(of: T): T => {
    const { totalBytes, availableBytes } = of.fileSystem ?? {};
    if (of.fileSystem === undefined || totalBytes === undefined || availableBytes === undefined) return of;
    return { ...of, fileSystem: { ...of.fileSystem, availableBytes: Math.round((availableBytes / (totalBytes || 1)) * STEPS) } };
  };
  return { ...inventory, disks: inventory.disks.map((disk) => steady({ ...disk, partitions: disk.partitions.map(steady) })) };
}

/** Of a file system: 2 %. */
const STEPS = 50;
const NOT_ASKED = failed("UNREADABLE", "The disk has not been asked yet.");

function smartctl(name: string): HostCommand {
  return { program: "smartctl", args: ["--json", "-a", "-n", "standby", `/dev/${name}`], privileged: true };
}

async function readOne(host: HostChannel, name: string, { previous, signal }: SmartOptions): Promise<SmartReading> {
  try {
    const { stdout } = await host.exec(smartctl(name), { timeoutMs: TIMEOUT_MS, ...(signal && { signal }) });
    const report = parseSmartctl(stdout);
    if (report.smartctl.exit_status & NO_ANSWER) return noAnswer(report, name, previous?.get(name));
    return readingOf(report, name);
  } catch (error) {
    if (error instanceof HostReadError) return failed(error.reason, error.message);
    throw error;
  }
}

function readingOf(report: SmartctlReport, name: string): SmartReading {
  const { rotation_rate, interface_speed, model_name, serial_number, firmware_version, smart_support } = report;
  const told = {
    ...{ model: model_name, serial: serial_number, firmware: firmware_version },
    rotationRpm: rotation_rate || undefined,
    interfaceSpeed: interface_speed?.current?.string,
  };
  if (smart_support?.available === false) return { ...failed("NOT_SUPPORTED", `${name} has no SMART data.`), told };
  if (smart_support?.enabled === false)
    return { ...failed("NOT_SUPPORTED", `SMART is switched off in ${name}: \`smartctl -s on\`.`), told };
  return { smart: healthOf(report, new Date()), failure: undefined, askedSerial: undefined, told };
}

function noAnswer(report: SmartctlReport, name: string, previous: SmartReading | undefined): SmartReading {
  const message = report.smartctl.messages.map(({ string }) => string).join(" ") || `smartctl ended with ${report.smartctl.exit_status}.`;
  if (/\b(?:STANDBY|SLEEP|IDLE)\w* mode\b/.test(message)) {
    return previous ?? failed("UNREADABLE", `${name} sleeps, and is not woken to be asked.`);
  }
  if (/permission denied|operation not permitted/i.test(message)) return failed("NO_PERMISSION", message);
  if (/no such (?:file|device)/i.test(message)) return failed("NOT_PRESENT", message);
  return failed(/unable to detect|unknown usb bridge|not supported/i.test(message) ? "NOT_SUPPORTED" : "UNREADABLE", message);
}

function failed(reason: UnreadableReason, message: string): SmartReading {
  return { smart: undefined, failure: { reason, message }, askedSerial: undefined, told: {} };
}

function isOf(disk: Disk, { askedSerial }: SmartReading): boolean {
  return askedSerial === undefined || disk.serial === undefined || askedSerial === disk.serial;
}
