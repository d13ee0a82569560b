import { ERROR_DOMAINS, ERROR_NAMES, type LibvirtErrorName } from "./protocol/error-names.ts";
import type { RemoteError } from "./protocol/structures.ts";

export type { LibvirtErrorName } from "./protocol/error-names.ts";

/** What libvirt's daemon answered instead of a result. Its message may name paths and hosts: it is for the log and for operators. */
export class LibvirtError extends Error {
  override readonly name = "LibvirtError";
  /** libvirt's virErrorNumber. */
  readonly code: number;
  /** "UNKNOWN" for a code of a libvirt that is newer than this table. */
  readonly codeName: LibvirtErrorName | "UNKNOWN";
  /** libvirt's virErrorDomain: which part of it failed. */
  readonly domain: number;
  readonly domainName: string;
  /** The call, or null for a stream. */
  readonly procedure: string | null;

  constructor(error: Pick<RemoteError, "code" | "domain" | "message">, procedure: string | null = null) {
    super(error.message ?? "libvirt gave no reason.");
    this.code = error.code;
    this.codeName = ERROR_NAMES[error.code] ?? "UNKNOWN";
    this.domain = error.domain;
    this.domainName = ERROR_DOMAINS[error.domain] ?? "UNKNOWN";
    this.procedure = procedure;
  }

  static isCode(error: unknown, ...names: LibvirtErrorName[]): error is LibvirtError {
    return error instanceof LibvirtError && names.some((name) => name === error.codeName);
  }
}
