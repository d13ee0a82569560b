import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type ResealCounts, resealBoxes } from "../../../../platform/secrets/reseal.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { requireAgent, requireOwnNode } from "../../../kit/agents/own-node.ts";
import { checkId } from "../../../kit/input-checks.ts";
import type { EntityManager, Store } from "../../../kit/store/orm.ts";
import { RegistryCredential } from "../../entities/registry-credential.ts";
import { checkCredential, checkRegistry, type RawCredential } from "./registry-input.ts";

/** Without its password, which nobody reads back. */
export interface RegistryCredentialView {
  registry: string;
  username: string;
  updatedBy: string;
  updatedAt: Date;
}

export interface Account {
  username: string;
  password: string;
}

export interface RegistryCredentialsParts {
  store: Store;
  secrets: SecretKeys;
  directory: AgentDirectory;
}

/** So few that they are one list. */
const MAX_CREDENTIALS = 500;

/** The accounts with which hosts fetch images. Passwords are sealed in the database, and opened only for a host that asks. */
export class RegistryCredentials {
  readonly #parts: RegistryCredentialsParts;

  constructor(parts: RegistryCredentialsParts) {
    this.#parts = parts;
  }

  /** By registry. Rights: admin. */
  async list(ctx: RequestContext): Promise<RegistryCredentialView[]> {
    requireRole(ctx.identity, "admin");
    const found = await this.#parts.store.read((em) => em.find(RegistryCredential, {}, { orderBy: { registry: "asc" } }));
    return found.map(toView);
  }

  /** Keeps an account for a registry, in the place of the one before. Rights: admin. Throws INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
  async set(ctx: RequestContext, raw: RawCredential): Promise<RegistryCredentialView> {
    requireRole(ctx.identity, "admin");
    const { registry, username, password } = checkCredential(raw);
    const view = { registry, username, updatedBy: callerName(ctx.identity), updatedAt: new Date() };
    const sealed = this.#parts.secrets.seal(password, purposeOf(view));
    await this.#parts.store.transaction(async ({ em }) => {
      await refuseTooMany(em, registry);
      await em.execute(
        `insert into registry_credential (registry, username, sealed_password, updated_by, updated_at) values (?, ?, ?, ?, ?)
         on conflict (registry) do update set username = excluded.username, sealed_password = excluded.sealed_password,
         updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
        [registry, username, sealed, view.updatedBy, view.updatedAt],
      );
    });
    ctx.log.info({ registry, username, by: view.updatedBy }, "the account for a registry was set");
    return view;
  }

  /** Gives what was deleted. Rights: admin. Throws NOT_FOUND. */
  async delete(ctx: RequestContext, rawRegistry: string): Promise<RegistryCredentialView> {
    requireRole(ctx.identity, "admin");
    const registry = checkRegistry("registry", rawRegistry);
    const deleted = await this.#parts.store.transaction(async ({ em }) => {
      const found = await em.findOne(RegistryCredential, { registry });
      if (found === null) throw credentialNotFound(registry);
      em.remove(found);
      return toView(found);
    });
    ctx.log.info({ registry, by: callerName(ctx.identity) }, "the account for a registry was deleted");
    return deleted;
  }

  /**
   * The account with which a node fetches from a registry. Rights: the node's own agent. Throws NOT_FOUND (no such account, or no such node
   * in service), FORBIDDEN (reason NotYourNode), FAILED_PRECONDITION where the password cannot be opened, UNAVAILABLE.
   */
  async forNode(ctx: RequestContext, nodeId: string, rawRegistry: string): Promise<Account> {
    const { agentId } = requireAgent(ctx.identity);
    await requireOwnNode(this.#parts.directory, ctx, checkId("nodeId", nodeId));
    const registry = checkRegistry("registry", rawRegistry);
    const found = await this.#read(registry);
    if (found === null) throw credentialNotFound(registry);
    const password = await this.#parts.secrets.open(found.sealedPassword, purposeOf(found));
    ctx.log.info({ registry, nodeId, agentId }, "a host fetches with the account for a registry");
    return { username: found.username, password };
  }

  /** As `resealRegistryPasswords`. */
  resealAll(ctx: RequestContext): Promise<ResealCounts> {
    const { store, secrets } = this.#parts;
    return resealRegistryPasswords(store, secrets, ctx.log);
  }

  #read(registry: string): Promise<RegistryCredential | null> {
    return this.#parts.store.read((em) => em.findOne(RegistryCredential, { registry }, { populate: ["sealedPassword"] }));
  }
}

/** As `resealBoxes`. */
export async function resealRegistryPasswords(store: Store, secrets: SecretKeys, log: Logger): Promise<ResealCounts> {
  const all = await store.read((em) => em.find(RegistryCredential, {}, { populate: ["sealedPassword"] }));
  const boxes = all.map((credential) => {
    const { registry, sealedPassword: box } = credential;
    const replace = (sealedPassword: string) =>
      store.transaction(({ em }) => em.nativeUpdate(RegistryCredential, { registry, sealedPassword: box }, { sealedPassword }));
    return { box, purpose: purposeOf(credential), about: { registry }, replace };
  });
  return resealBoxes(secrets, boxes, log);
}

/** A box does not open for another account than the one that it was made for. */
function purposeOf({ registry, username }: Pick<RegistryCredential, "registry" | "username">): string {
  return JSON.stringify(["registry credential", registry, username]);
}

function toView({ registry, username, updatedBy, updatedAt }: RegistryCredential): RegistryCredentialView {
  return { registry, username, updatedBy, updatedAt };
}

async function refuseTooMany(em: EntityManager, registry: string): Promise<void> {
  const others = await em.count(RegistryCredential, { registry: { $ne: registry } });
  if (others < MAX_CREDENTIALS) return;
  throw new FleetError("RESOURCE_EXHAUSTED", `At most ${MAX_CREDENTIALS} accounts are kept: delete one that is not needed.`, {
    reason: "TooManyCredentials",
    details: { max: MAX_CREDENTIALS },
  });
}

function credentialNotFound(registry: string): FleetError {
  return new FleetError("NOT_FOUND", `No account is kept for ${registry}.`, {
    details: { field: "registry", kind: "RegistryCredential", id: registry },
  });
}
