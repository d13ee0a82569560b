import { z } from "zod";
import { HostReadError } from "../../host/host-channel.ts";

/** Vendors' firmware is behind these values: one that is odd does not take the others with it. */
const maybe = <T extends z.ZodType>(type: T) => type.optional().catch(undefined);
const count = maybe(z.number().nonnegative());
const text = maybe(z.string().trim().min(1));

const counters = maybe(z.object({ gigabytes_processed: maybe(z.coerce.number().nonnegative()), total_uncorrected_errors: count }));

const attribute = z.object({
  id: z.number().int(),
  name: z.string(),
  /** Normalised: 253 or 100 is new, and it goes down to the threshold. */
  value: count,
  thresh: count,
  when_failed: maybe(z.string()),
  raw: z.object({ value: z.number().nonnegative() }),
});

/** What is used of smartctl's JSON (format 1.0, smartmontools 7.0 and later). */
const report = z.object({
  smartctl: z.object({
    exit_status: z.number().int(),
    messages: z.array(z.object({ string: z.string() })).catch([]),
  }),
  ...{ model_name: text, serial_number: text, firmware_version: text },
  /** Per minute; 0 of an SSD. */
  rotation_rate: count,
  interface_speed: maybe(z.object({ current: maybe(z.object({ string: text })) })),
  smart_support: maybe(z.object({ available: maybe(z.boolean()), enabled: maybe(z.boolean()) })),
  smart_status: maybe(z.object({ passed: maybe(z.boolean()) })),
  temperature: maybe(z.object({ current: maybe(z.number()), drive_trip: count, op_limit_max: count })),
  power_on_time: maybe(z.object({ hours: count })),
  power_cycle_count: count,
  endurance_used: maybe(z.object({ current_percent: count })),
  nvme_smart_health_information_log: maybe(
    z.object({
      /** Bits; NVM Express Base Specification, SMART / Health Information. */
      critical_warning: count,
      percentage_used: count,
      /** In thousands of 512 bytes. */
      ...{ data_units_read: count, data_units_written: count },
      ...{ media_errors: count, num_err_log_entries: count },
    }),
  ),
  ata_smart_attributes: maybe(z.object({ table: z.array(attribute.nullable().catch(null)) })),
  ata_smart_error_log: maybe(z.object({ summary: maybe(z.object({ count })), extended: maybe(z.object({ count })) })),
  /** The newest first. */
  ata_smart_self_test_log: maybe(
    z.object({ standard: z.object({ table: z.array(z.object({ status: z.object({ passed: maybe(z.boolean()) }) })) }) }),
  ),
  scsi_grown_defect_list: count,
  scsi_percentage_used_endurance_indicator: count,
  scsi_error_counter_log: maybe(z.object({ read: counters, write: counters, verify: counters })),
  scsi_environmental_reports: maybe(z.object({ temperature_1: maybe(z.object({ current: maybe(z.number()) })) })),
});

export type SmartctlReport = z.infer<typeof report>;
export type AtaAttribute = z.infer<typeof attribute>;

/** Throws HostReadError (MALFORMED). */
export function parseSmartctl(output: string): SmartctlReport {
  try {
    return report.parse(JSON.parse(output));
  } catch (error) {
    throw new HostReadError("MALFORMED", "smartctl", "smartctl wrote something else than its JSON; it has to be 7.0 or later.", error);
  }
}

export function attributesOf(told: SmartctlReport): AtaAttribute[] {
  return told.ata_smart_attributes?.table.filter((entry) => entry !== null) ?? [];
}
