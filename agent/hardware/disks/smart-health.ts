import { DiskHealth, type SmartHealth } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type AtaAttribute, attributesOf, type SmartctlReport } from "./smartctl-report.ts";

const NVME_UNIT_BYTES = 512_000;
/** Bits of an NVMe controller's critical warning, from the lowest. */
const CRITICAL_WARNINGS = [
  "The spare blocks are below the disk's threshold.",
  "The temperature is outside of the disk's limits.",
  "The disk is no longer reliable: too many errors of its medium or within it.",
  "The disk takes no more writes.",
  "The backup of the disk's volatile memory failed.",
  "The disk's persistent memory region takes no more writes.",
];
/** Attributes whose raw value counts sectors that are lost or about to be, by number: smartctl's names of them vary. */
const LOST_SECTORS = new Map([
  [5, "sectors were replaced by spare ones"],
  [197, "sectors cannot be read and wait to be replaced"],
  [198, "sectors could not be corrected"],
]);
const REPORTED_UNCORRECTABLE = 187;
/** Normalised values that count down from 100 as an SSD wears out. */
const WEAR = ["Media_Wearout_Indicator", "Wear_Leveling_Count", "SSD_Life_Left", "Percent_Lifetime_Remain", "Remaining_Lifetime_Perc"];
/** In the names of attributes that count what was read and written: "Total_LBAs_Written", "Host_Writes_32MiB", "Lifetime_Reads_GiB". */
const UNITS: Record<string, number> = { LBAs: 512, "32MiB": 32 * 1024 ** 2, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

/**
 * FAILED is the disk's own verdict, as smartctl passes it on: SMART's overall assessment, any critical warning of NVMe. WARNING: the disk
 * says that it is well, but what it counts says otherwise. Not known where it gives no verdict and counts nothing bad.
 */
export function healthOf(told: SmartctlReport, checkedAt: Date): SmartHealth {
  const problems = [...criticalWarnings(told), ...attributeProblems(told), ...otherProblems(told)];
  const passed = told.smart_status?.passed;
  if (passed === false && problems.length === 0) problems.push("The disk's own assessment is that it fails.");
  const nvme = told.nvme_smart_health_information_log;
  const { read, write } = told.scsi_error_counter_log ?? {};
  const [attributes, errorLog] = [attributesOf(told), told.ata_smart_error_log];
  return {
    health: verdict(passed, problems),
    problems,
    temperatureCelsius: whole(told.scsi_environmental_reports?.temperature_1?.current ?? told.temperature?.current),
    powerOnHours: whole(told.power_on_time?.hours),
    powerCycles: whole(told.power_cycle_count),
    wearPercent: whole(wearOf(told)),
    bytesRead: whole(times(nvme?.data_units_read, NVME_UNIT_BYTES) ?? times(read?.gigabytes_processed, 1e9) ?? bytesOf(attributes, /Read/)),
    bytesWritten: whole(
      times(nvme?.data_units_written, NVME_UNIT_BYTES) ?? times(write?.gigabytes_processed, 1e9) ?? bytesOf(attributes, /Writ/),
    ),
    mediaErrors: whole(nvme?.media_errors ?? uncorrectedOf(told) ?? attributes.find(({ id }) => id === REPORTED_UNCORRECTABLE)?.raw.value),
    errorLogEntries: whole(nvme?.num_err_log_entries ?? errorLog?.extended?.count ?? errorLog?.summary?.count),
    checkedAt,
  };
}

function verdict(passed: boolean | undefined, problems: readonly string[]): DiskHealth {
  if (passed === false) return DiskHealth.FAILED;
  if (problems.length > 0) return DiskHealth.WARNING;
  return passed ? DiskHealth.HEALTHY : DiskHealth.UNSPECIFIED;
}

function criticalWarnings(told: SmartctlReport): string[] {
  const bits = told.nvme_smart_health_information_log?.critical_warning ?? 0;
  return CRITICAL_WARNINGS.filter((_, bit) => (bits >> bit) & 1);
}

function attributeProblems(told: SmartctlReport): string[] {
  return attributesOf(told).flatMap(({ id, name, value, thresh, when_failed, raw }) => {
    const lost = LOST_SECTORS.get(id);
    const worn = when_failed === "now" ? [`${name} is at ${value}, and its threshold is ${thresh}.`] : [];
    return lost !== undefined && raw.value > 0 ? [...worn, `${raw.value} ${lost}.`] : worn;
  });
}

function otherProblems(told: SmartctlReport): string[] {
  const problems: string[] = [];
  const wear = wearOf(told);
  if (wear !== undefined && wear >= 100) problems.push(`${wear} % of the disk's endurance is used.`);
  const errors = told.nvme_smart_health_information_log?.media_errors ?? uncorrectedOf(told) ?? 0;
  if (errors > 0) problems.push(`${errors} errors could not be corrected.`);
  if (told.scsi_grown_defect_list) problems.push(`${told.scsi_grown_defect_list} defects have appeared since the disk was made.`);
  if (told.ata_smart_self_test_log?.standard.table[0]?.status.passed === false) problems.push("The last self-test failed.");
  const { current, drive_trip, op_limit_max } = told.temperature ?? {};
  const limit = op_limit_max || drive_trip;
  if (current !== undefined && limit && current >= limit) problems.push(`The temperature is at the disk's limit of ${limit} °C or above.`);
  return problems;
}

function wearOf(told: SmartctlReport): number | undefined {
  const told100 = attributesOf(told).find(({ name, value }) => WEAR.includes(name) && value !== undefined && value <= 100)?.value;
  return (
    told.nvme_smart_health_information_log?.percentage_used ??
    told.endurance_used?.current_percent ??
    told.scsi_percentage_used_endurance_indicator ??
    (told100 === undefined ? undefined : 100 - told100)
  );
}

function uncorrectedOf({ scsi_error_counter_log: log }: SmartctlReport): number | undefined {
  const counted = [log?.read, log?.write, log?.verify].flatMap((counters) => counters?.total_uncorrected_errors ?? []);
  return counted.length === 0 ? undefined : counted.reduce((sum, errors) => sum + errors, 0);
}

function bytesOf(attributes: readonly AtaAttribute[], direction: RegExp): number | undefined {
  for (const { name, raw } of attributes) {
    const unit = /^(?:Total|Host|Lifetime)_.*?(LBAs|32MiB|MiB|GiB|TiB)/.exec(name)?.[1];
    if (unit !== undefined && direction.test(name)) return times(raw.value, UNITS[unit] ?? 1);
  }
  return undefined;
}

function times(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

/** Messages carry whole numbers up to 2^53; broken firmware counts to 2^64. */
function whole(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.min(Math.round(value), Number.MAX_SAFE_INTEGER);
}
