import type { BeginSourceRequest, BeginSourceResponse } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { InstanceKeeper } from "../instances/keeper.ts";
import { migrationsOf } from "./migration-drivers.ts";

/** Keeps everything else from an instance from the beginning of its migration until the end, over several calls. */
export class SourceHolds {
  readonly #begun = new Map<string, Promise<BeginSourceResponse>>();

  /** As the driver's `begin`. The hold ends with the attempt. */
  begin(keeper: InstanceKeeper, request: BeginSourceRequest, signal: AbortSignal): Promise<BeginSourceResponse> {
    const { migrationId } = request;
    let begun = this.#begun.get(migrationId);
    if (begun === undefined) {
      begun = this.#begin(keeper, request, signal);
      this.#begun.set(migrationId, begun);
      begun.catch(() => this.#begun.delete(migrationId));
    }
    return begun;
  }

  #begin(keeper: InstanceKeeper, request: BeginSourceRequest, signal: AbortSignal): Promise<BeginSourceResponse> {
    const { instanceId, generation, migrationId } = request;
    const begun = Promise.withResolvers<BeginSourceResponse>();
    const ended = Promise.withResolvers<void>();
    const onEnded = () => {
      this.#begun.delete(migrationId);
      ended.resolve();
    };
    keeper
      .exclusively(
        { instanceId, generation },
        async ({ driver }) => {
          begun.resolve(await migrationsOf(driver).begin(request, onEnded, signal));
          await ended.promise;
        },
        signal,
      )
      .catch((error: unknown) => begun.reject(error));
    return begun.promise;
  }
}
