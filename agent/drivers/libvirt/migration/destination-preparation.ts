import { basename } from "node:path";
import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { PrepareDestinationRequest } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { InstanceMark } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { HostAbilities } from "../abilities.ts";
import type { DomainIndex } from "../domain-index.ts";
import type { Networks } from "../networks.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import { type DestinationDomain, type GuestDescription, readDescription } from "./description.ts";
import { DestinationAttempt } from "./destination-attempt.ts";
import type { DestinationChecks } from "./destination-checks.ts";
import type { DestinationNote, MigrationNotes } from "./migration-notes.ts";
import type { MigrationRecovery } from "./migration-recovery.ts";
import { qemuUser } from "./qemu-user.ts";
import { nameOf, rewrittenDomain, uuidOf } from "./rewritten-domain.ts";
import { makeSocketDirectory, socketDirectory } from "./socket-directory.ts";

export interface DestinationPreparationOptions {
  client: LibvirtClient;
  log: Logger;
  index: DomainIndex;
  storage: InstanceStorage;
  networks: Networks;
  securityGroups: SecurityGroups;
  checks: DestinationChecks;
  notes: MigrationNotes;
  recovery: MigrationRecovery;
  directory: string;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
}

const UNDO_MS = 60_000;

/** Makes what a guest needs at its destination, noted first: sockets, disks, filter; last the domain that waits. */
export class DestinationPreparation {
  readonly #options: DestinationPreparationOptions;

  constructor(options: DestinationPreparationOptions) {
    this.#options = options;
  }

  async run(
    request: PrepareDestinationRequest,
    signal: AbortSignal,
    onEnded: (attempt: DestinationAttempt) => void,
  ): Promise<DestinationAttempt> {
    const guest = readDescription(request.description);
    const note = await this.#note(request, signal);
    const { client, log, notes, abilities, networks, recovery } = this.#options;
    await notes.save(note);
    try {
      const { accelerator, emulator } = await abilities(signal);
      await makeSocketDirectory(note.socketDirectory, await qemuUser(client, accelerator, signal));
      await networks.start(guest.networks, signal);
      await this.#makeFilter(request.instanceId, guest, signal);
      const paths = await this.#makeFiles(request, guest, signal);
      const domain = this.#domain(request, guest, paths, emulator);
      const targets = guest.disks.filter(({ kind }) => kind === "own").map(({ target }) => target);
      return await DestinationAttempt.prepare({ client, log, notes, note, request, domain, targets, onEnded }, signal);
    } catch (error) {
      // What cannot be undone now is undone when somebody asks again.
      await recovery
        .settleDestination(note, AbortSignal.timeout(UNDO_MS))
        .catch((undo: unknown) => log.warn({ err: undo, instanceId: note.instanceId }, "what was made for a guest is removed later"));
      throw error;
    }
  }

  async #note(request: PrepareDestinationRequest, signal: AbortSignal): Promise<DestinationNote> {
    const { index, storage, directory } = this.#options;
    const { migrationId, instanceId, generation, copiesDisks, domainXml } = request;
    const uuid = uuidOf(domainXml);
    const domainName = nameOf(domainXml);
    if (uuid === "" || domainName === "") throw invalidArgument("domain_xml", "The domain has no UUID or no name.");
    const isTaken = (await index.find({ nativeId: uuid }, signal)) !== null || (await index.byName(domainName, signal)) !== null;
    if (isTaken) throw precondition("InstanceThere", "This host has a domain with this UUID or name already: remove it first.");
    // From here on, what bears the instance's name was made for it.
    const inTheWay = copiesDisks ? await storage.volumesOf(instanceId, signal) : [];
    if (inTheWay.length > 0) {
      const message = `This host has ${inTheWay.join(", ")} already, left of an earlier placement; it is kept, because it may hold data. Move it away.`;
      throw precondition("DiskInTheWay", message);
    }
    const sockets = socketDirectory(directory, migrationId, "destination");
    const ids = { migrationId, instanceId, generation, uuid, domainName };
    return { role: "destination", state: "prepared", ...ids, madeDisks: copiesDisks, socketDirectory: sockets };
  }

  async #makeFilter(instanceId: string, { spec }: GuestDescription, signal: AbortSignal): Promise<void> {
    const { securityGroups } = this.#options;
    const groups = await securityGroups.choose(spec.network?.securityGroups ?? [], signal);
    if (groups !== null) await securityGroups.make(instanceId, groups, signal);
  }

  /** Where the source's files are here, by their paths there. */
  async #makeFiles(request: PrepareDestinationRequest, guest: GuestDescription, signal: AbortSignal): Promise<Map<string, string>> {
    const { checks, storage } = this.#options;
    const paths = new Map<string, string>();
    for (const file of [guest.kernel, guest.initrd]) {
      const path = file === null ? null : await checks.bootFile(file, signal);
      if (file !== null && path === null)
        throw precondition("ImageNotFound", `This host has no ${basename(file.path)} with the same content.`);
      if (file !== null && path !== null) paths.set(file.path, path);
    }
    if (!request.copiesDisks) return paths;
    const own = guest.disks.filter(({ kind }) => kind !== "shared");
    const capacities = new Map(own.map(({ path, capacity }) => [basename(path), capacity]));
    const { spec, name, type } = guest;
    const plan = { ...markOf(request), spec, name, type, labels: {}, annotations: {} };
    const made = await storage.receive(plan, capacities, signal);
    for (const { path, target } of own) {
      const here = made.get(basename(path));
      if (here === undefined)
        throw precondition("DiskUnexpected", `The guest's disk ${target} is not one of its specification: it cannot be copied.`);
      paths.set(path, here);
    }
    return paths;
  }

  #domain(
    request: PrepareDestinationRequest,
    guest: GuestDescription,
    paths: ReadonlyMap<string, string>,
    emulator: string,
  ): DestinationDomain {
    const flat = new Set(request.copiesDisks ? guest.disks.filter(({ kind }) => kind === "own").map(({ path }) => path) : []);
    const rewriting = { mark: markOf(request), emulator, paths, flat };
    return {
      domainXml: rewrittenDomain(request.domainXml, rewriting),
      persistentXml: rewrittenDomain(request.persistentXml, rewriting),
    };
  }
}

function markOf({ instanceId, nodeId, generation }: PrepareDestinationRequest): InstanceMark {
  return { instanceId, nodeId, generation };
}
