import { FleetError } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";
import type { SecretKeys } from "./secret-keys.ts";

/** A secret as a database keeps it. */
export interface StoredBox {
  box: string;
  purpose: string;
  /** Which it is, for the log. */
  about: Record<string, unknown>;
  /** Puts another box in its place, unless somebody has set another secret there meanwhile. */
  replace(box: string): Promise<unknown>;
}

export interface ResealCounts {
  resealed: number;
  /** Of those that cannot be opened: they are logged, and stay. */
  failed: number;
}

/** Seals with the newest key what an older one sealed, so that the older one can go. Throws what `replace` throws. */
export async function resealBoxes(keys: SecretKeys, boxes: readonly StoredBox[], log: Logger): Promise<ResealCounts> {
  const counts = { resealed: 0, failed: 0 };
  for (const { box, purpose, about, replace } of boxes) {
    if (keys.isNewest(box)) continue;
    const secret = await keys.open(box, purpose).catch((error: unknown) => {
      const { code, reason, message } = FleetError.from(error);
      log.warn({ ...about, code, reason }, `a stored secret cannot be used: ${message}`);
      return null;
    });
    if (secret === null) counts.failed += 1;
    else {
      await replace(keys.seal(secret, purpose));
      counts.resealed += 1;
    }
  }
  return counts;
}
