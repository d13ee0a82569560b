import type { RequestContext } from "../../../../platform/request-context.ts";
import { type ResealCounts, resealBoxes } from "../../../../platform/secrets/reseal.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { HostAccess } from "../../../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import type { HostCredentials } from "./host-types.ts";

/** Keeps what signs in on hosts: sealed in the database, opened only on the way to the agent that uses it. */
export class HostSecrets {
  readonly #store: Store;
  readonly #keys: SecretKeys;

  constructor(store: Store, keys: SecretKeys) {
    this.#store = store;
    this.#keys = keys;
  }

  seal(host: Pick<BridgedHost, "id" | "uri">, credentials: HostCredentials): string {
    return this.#keys.seal(JSON.stringify(credentials), purposeOf(host));
  }

  /** The row is read with its sealed credentials. Throws FAILED_PRECONDITION (SecretKeyMissing, SecretDamaged). */
  async open(host: Pick<BridgedHost, "id" | "uri" | "sealedCredentials">): Promise<HostCredentials> {
    return JSON.parse(await this.#keys.open(host.sealedCredentials, purposeOf(host))) as HostCredentials;
  }

  /** For an agent. Throws as `open`. */
  async access(host: Pick<BridgedHost, "id" | "uri" | "sealedCredentials" | "hostKeys">): Promise<HostAccess> {
    return accessBy(await this.open(host), host);
  }

  /** As `resealBoxes`. */
  async resealAll({ log }: Pick<RequestContext, "log">): Promise<ResealCounts> {
    const hosts = await this.#store.read((em) => em.find(BridgedHost, {}, { populate: ["sealedCredentials"] }));
    const boxes = hosts.map((host) => ({
      box: host.sealedCredentials,
      purpose: purposeOf(host),
      about: { hostname: host.hostname },
      replace: (sealedCredentials: string) => this.#replace(host, sealedCredentials),
    }));
    return resealBoxes(this.#keys, boxes, log);
  }

  #replace({ id, sealedCredentials: before }: BridgedHost, sealedCredentials: string): Promise<number> {
    return this.#store.transaction(({ em }) => em.nativeUpdate(BridgedHost, { id, sealedCredentials: before }, { sealedCredentials }));
  }
}

/** As an agent takes it. */
export function accessBy(
  { password, privateKey, passphrase }: HostCredentials,
  { uri, hostKeys }: Pick<HostAccess, "uri" | "hostKeys">,
): HostAccess {
  return { uri, password: password ?? "", privateKey: privateKey ?? "", passphrase: passphrase ?? "", hostKeys };
}

/** A box does not open for another host than the one that it was made for. */
function purposeOf({ id, uri }: Pick<BridgedHost, "id" | "uri">): string {
  return JSON.stringify(["host credentials", id, uri]);
}
