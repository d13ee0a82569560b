import type { UnavailableField } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import { HostReadError, type UnreadableReason } from "../host/host-channel.ts";

/** Collects what could not be read while a message is filled: the value stays undefined, and here is why. */
export class Unavailable {
  readonly fields: UnavailableField[] = [];

  /** `field` is the path in the message, such as "cpu.model". Returns undefined, for the value itself. */
  add(field: string, reason: UnreadableReason, message: string): undefined {
    this.fields.push({ field, reason, message });
    return undefined;
  }

  /** What `read` gives, or undefined with the failure noted. An error that is not about reading the host is thrown on. */
  async attempt<T>(field: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof HostReadError) return this.add(field, error.reason, error.message);
      throw error;
    }
  }
}
