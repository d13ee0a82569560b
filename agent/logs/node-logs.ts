import type { LogEntry, ReadLogsResponse } from "../../schema/generated/proto/hypervisor/v1/logs.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { Journal } from "./journal.ts";
import type { CheckedFilter, LogPage } from "./log-request.ts";
import { QemuLogs } from "./qemu-logs.ts";

/** The logs of one host: its journal, and what QEMU writes about each guest. */
export class NodeLogs {
  readonly #journal: Journal;
  readonly #qemu: QemuLogs;

  constructor(host: HostChannel, journalDirectory: string | null) {
    this.#journal = new Journal(host, journalDirectory);
    this.#qemu = new QemuLogs(host);
  }

  /** See LogAgentService. */
  read(filter: CheckedFilter, page: LogPage, signal: AbortSignal): Promise<ReadLogsResponse> {
    return this.#of(filter).read(filter, page, signal);
  }

  follow(filter: CheckedFilter, after: string | null, signal: AbortSignal): AsyncGenerator<LogEntry> {
    return this.#of(filter).follow(filter, after, signal);
  }

  #of({ service }: CheckedFilter): Journal | QemuLogs {
    return service === "qemu" ? this.#qemu : this.#journal;
  }
}
