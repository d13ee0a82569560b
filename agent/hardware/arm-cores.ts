/**
 * Names for the Main ID Register of Arm CPUs: bits 31–24 are the implementer, 15–4 the part number. The numbers are those of
 * Arm's Technical Reference Manuals and of the implementers' own; the names are spelled as lscpu spells them.
 */
const IMPLEMENTERS: Record<number, { name: string; parts: Record<number, string> }> = {
  65: {
    name: "ARM",
    parts: {
      3079: "Cortex-A7",
      3081: "Cortex-A9",
      3087: "Cortex-A15",
      3329: "Cortex-A32",
      3330: "Cortex-A34",
      3331: "Cortex-A53",
      3332: "Cortex-A35",
      3333: "Cortex-A55",
      3334: "Cortex-A65",
      3335: "Cortex-A57",
      3336: "Cortex-A72",
      3337: "Cortex-A73",
      3338: "Cortex-A75",
      3339: "Cortex-A76",
      3340: "Neoverse-N1",
      3341: "Cortex-A77",
      3342: "Cortex-A76AE",
      3392: "Neoverse-V1",
      3393: "Cortex-A78",
      3394: "Cortex-A78AE",
      3396: "Cortex-X1",
      3398: "Cortex-A510",
      3399: "Cortex-A710",
      3400: "Cortex-X2",
      3401: "Neoverse-N2",
      3402: "Neoverse-E1",
      3403: "Cortex-A78C",
      3405: "Cortex-A715",
      3406: "Cortex-X3",
      3407: "Neoverse-V2",
      3456: "Cortex-A520",
      3457: "Cortex-A720",
      3458: "Cortex-X4",
      3460: "Neoverse-V3",
      3470: "Neoverse-N3",
    },
  },
  66: { name: "Broadcom", parts: { 1302: "ThunderX2" } },
  67: { name: "Cavium", parts: { 161: "ThunderX-88XX", 162: "ThunderX-81XX", 163: "ThunderX-83XX", 175: "ThunderX2-99xx" } },
  70: { name: "FUJITSU", parts: { 1: "A64FX" } },
  72: { name: "HiSilicon", parts: { 3329: "TaiShan-v110", 3330: "TaiShan-v120" } },
  78: { name: "NVIDIA", parts: { 3: "Denver 2", 4: "Carmel" } },
  80: { name: "APM", parts: { 0: "X-Gene" } },
  81: { name: "Qualcomm", parts: { 1: "Oryon", 3072: "Falkor", 3073: "Saphira" } },
  97: { name: "Apple", parts: { 34: "Icestorm-M1", 35: "Firestorm-M1" } },
  109: { name: "Microsoft", parts: { 3401: "Azure-Cobalt-100" } },
  112: { name: "Phytium", parts: { 1632: "FTC660", 1633: "FTC661", 1634: "FTC662", 1635: "FTC663", 1636: "FTC664", 2146: "FTC862" } },
  192: { name: "Ampere", parts: { 2755: "Ampere-1", 2756: "Ampere-1a" } },
};

export interface ArmCore {
  /** Null for an implementer that is not in the table. */
  vendor: string | null;
  /** Null for a part that is not in the table. */
  model: string | null;
}

export function armCore(implementer: number, part: number): ArmCore {
  const known = IMPLEMENTERS[implementer];
  return { vendor: known?.name ?? null, model: known?.parts[part] ?? null };
}
