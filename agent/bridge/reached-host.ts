import type { HostChannel } from "../host/host-channel.ts";
import type { InstanceSettings } from "../instances/node-instances.ts";

/** Of the file system whose size counts as the node's disk. */
export const DISK_PATH = "/";

/** Another machine, and the way to it. It is reached again, with pauses, whenever the way is lost. */
export interface ReachedHost {
  readonly channel: HostChannel;
  /** Null while it is reached; else why not, in a sentence without secrets. */
  unreachable(): string | null;
  /** Called when it is reached, and when it no longer is. Returns an undo. */
  onChange(listener: () => void): () => void;
  /** What runs its instances. Called once, when this agent may act on it; closed by who asked. */
  openInstances(): Promise<InstanceSettings>;
  /** Cuts the way at once. */
  close(): Promise<void>;
}
