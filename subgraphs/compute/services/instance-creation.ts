import { UniqueConstraintViolationException } from "@mikro-orm/core";
import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { GroupCommit, type Outcome } from "../../kit/group-commit.ts";
import type { ComputeConfig } from "../config.ts";
import { Instance } from "../entities/instance.ts";
import type { FleetView } from "./fleet-view.ts";
import { checkCreation, type RawCreation } from "./instance-input.ts";
import type { Creation, InstanceView } from "./instance-types.ts";
import { instanceView } from "./instance-view.ts";
import type { InstanceTransaction, InstanceWriter } from "./instance-writer.ts";
import { newInstance } from "./new-instance.ts";
import { Placements } from "./placements.ts";

export interface InstanceCreationParts {
  writer: InstanceWriter;
  fleet: FleetView;
  config: Pick<ComputeConfig, "strategy">;
}

/** How instances are made: placed, reserved and stored in one transaction, which many creations share under load. */
export class InstanceCreation {
  readonly #parts: InstanceCreationParts;
  readonly #requests: GroupCommit<Creation, InstanceView>;

  constructor(parts: InstanceCreationParts) {
    this.#parts = parts;
    this.#requests = new GroupCommit({ run: (creations) => this.#createAll(creations), batch: 50, queue: 10_000 });
  }

  /**
   * Rights: operator. Returns at once with the instance CREATING; its agent is told right after. A `clientRequestId` that was used before
   * gives the instance that it made, as it is now. Throws INVALID_ARGUMENT, NOT_FOUND (no such preferred node),
   * RESOURCE_EXHAUSTED (reason NoNodeFits, details.nodes says why for each), UNAVAILABLE while the nodes are not known.
   */
  async create(ctx: RequestContext, raw: RawCreation): Promise<InstanceView> {
    requireRole(ctx.identity, "operator");
    const creation = checkCreation(raw);
    await this.#parts.fleet.whenKnown(ctx.signal);
    try {
      return await this.#requests.add(creation);
    } catch (error) {
      // Another replica took the same request id between the look and the insert: the second look finds its instance.
      if (error instanceof UniqueConstraintViolationException) return this.#requests.add(creation);
      throw error;
    }
  }

  #createAll(creations: readonly Creation[]): Promise<Array<Outcome<InstanceView>>> {
    const { writer, fleet, config } = this.#parts;
    return writer.transaction(async (instances) => {
      const made = await findMade(instances, creations);
      const placements = new Placements(instances.em, fleet, config.strategy);
      const outcomes: Array<Outcome<InstanceView>> = [];
      for (const creation of creations) outcomes.push(await createOne(instances, made, placements, creation));
      return outcomes;
    });
  }
}

async function createOne(
  instances: InstanceTransaction,
  made: Map<string, Instance>,
  placements: Placements,
  creation: Creation,
): Promise<Outcome<InstanceView>> {
  const { clientRequestId } = creation;
  try {
    const repeated = clientRequestId === null ? undefined : made.get(clientRequestId);
    if (repeated) return { value: checkRepeated(repeated, creation) };
    const nodeId = await placements.take(creation);
    const instance = newInstance(instances.em, creation, nodeId);
    if (clientRequestId !== null) made.set(clientRequestId, instance);
    return { value: instances.create(instance) };
  } catch (error) {
    // Refusals come before anything was changed.
    if (error instanceof FleetError) return { error };
    throw error;
  }
}

/** Instances by the request that made them. */
async function findMade({ em }: InstanceTransaction, creations: readonly Creation[]): Promise<Map<string, Instance>> {
  const ids = creations.map(({ clientRequestId }) => clientRequestId).filter((id) => id !== null);
  if (ids.length === 0) return new Map();
  const found = await em.find(Instance, { clientRequestId: { $in: ids } });
  return new Map(found.map((instance) => [instance.clientRequestId ?? "", instance]));
}

/** An answer that got lost is asked for again: the instance that the request made before, whatever became of it since. */
function checkRepeated(instance: Instance, { name, type }: Creation): InstanceView {
  if (instance.name !== name || instance.type !== type) {
    throw invalidArgument("clientRequestId", "This request id was used for another instance.", { id: instance.id });
  }
  return instanceView(instance);
}
