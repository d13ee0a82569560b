import type { Duplex } from "node:stream";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type {
  BeginSourceRequest,
  BeginSourceResponse,
  CheckDestinationRequest,
  CheckDestinationResponse,
  ConfirmSourceRequest,
  ConfirmSourceResponse,
  DescribeSourceResponse,
  FinishDestinationRequest,
  FinishDestinationResponse,
  InspectMigrationRequest,
  InspectMigrationResponse,
  MigrationProgress,
  PerformSourceRequest,
  PrepareDestinationRequest,
  PrepareDestinationResponse,
} from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { InstancePlan } from "../../instance-driver.ts";
import type { CarryConnection, MigrationDriver } from "../../migration-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { HostAbilities } from "../abilities.ts";
import { type DomainControl, gone } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { conditionOf } from "../domain-state.ts";
import type { Networks } from "../networks.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import { readDescription } from "./description.ts";
import { DestinationChecks } from "./destination-checks.ts";
import { DestinationPreparation } from "./destination-preparation.ts";
import { FileDigests } from "./file-digests.ts";
import { readGuest } from "./guest-xml.ts";
import { MigrationNotes } from "./migration-notes.ts";
import { MigrationRecovery } from "./migration-recovery.ts";
import { MigrationsInHand } from "./migrations-in-hand.ts";
import { ProbeFiles } from "./probe-files.ts";
import { qemuUser } from "./qemu-user.ts";
import { socketDirectory } from "./socket-directory.ts";
import { conflict, SourceAttempt } from "./source-attempt.ts";
import { SourceDescription } from "./source-description.ts";

export interface LibvirtMigrationsOptions {
  client: LibvirtClient;
  log: Logger;
  index: DomainIndex;
  control: DomainControl;
  storage: InstanceStorage;
  networks: Networks;
  securityGroups: SecurityGroups;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
  /** Of the agent alone: notes of attempts are kept here. */
  directory: string;
  /** A guest has come here, or is not hidden any more. */
  onChanged: (uuid: string) => void;
}

/** Live migration by the phases of libvirt's own protocol, each side's by its agent. */
export class LibvirtMigrations implements MigrationDriver {
  readonly #options: LibvirtMigrationsOptions;
  readonly #notes: MigrationNotes;
  readonly #recovery: MigrationRecovery;
  readonly #hand: MigrationsInHand;
  readonly #description: SourceDescription;
  readonly #checks: DestinationChecks;
  readonly #preparation: DestinationPreparation;
  readonly #probes: ProbeFiles;

  constructor(options: LibvirtMigrationsOptions) {
    const { log, directory } = options;
    this.#options = options;
    const notes = new MigrationNotes(directory, log);
    const digests = new FileDigests();
    this.#notes = notes;
    this.#probes = new ProbeFiles(directory);
    this.#recovery = new MigrationRecovery({ ...options, notes });
    this.#hand = new MigrationsInHand({ ...options, notes, recovery: this.#recovery });
    this.#description = new SourceDescription({ ...options, digests, probes: this.#probes });
    this.#checks = new DestinationChecks({ ...options, digests });
    this.#preparation = new DestinationPreparation({ ...options, notes, checks: this.#checks, recovery: this.#recovery });
  }

  /** What keeps the rest of the driver from what is on its way. */
  get guard(): Pick<MigrationsInHand, "hides" | "checkNotAwaited" | "checkMayRun"> {
    return this.#hand;
  }

  /** libvirt is reached (again): puts in order what is left of attempts. */
  async recover(): Promise<void> {
    await this.#probes.clear(this.#options.storage.places.instances);
    await this.#hand.settleAll();
  }

  async describe(plan: InstancePlan, signal: AbortSignal): Promise<DescribeSourceResponse> {
    const { instanceId } = plan;
    return await this.#hand.turn(instanceId, async () => this.#description.make(plan, await this.#existing(instanceId, signal), signal));
  }

  async check(request: CheckDestinationRequest, signal: AbortSignal): Promise<CheckDestinationResponse> {
    const { instanceId, description, probeName } = request;
    const { index } = this.#options;
    const answer = await this.#checks.run(readDescription(description), probeName, signal);
    const isHere = await this.#hand.turn(instanceId, async () => (await index.find({ instanceId }, signal)) !== null);
    const message = isHere ? "This host has a domain of this instance already, left of an earlier placement." : "";
    return { ...answer, checks: [{ name: "State", passed: !isHere, message }, ...answer.checks] };
  }

  async begin(request: BeginSourceRequest, onEnded: () => void, signal: AbortSignal): Promise<BeginSourceResponse> {
    const { instanceId, migrationId, copiesDisks } = request;
    return await this.#hand.turn(instanceId, async () => {
      const { client, abilities, directory, log } = this.#options;
      const { sources } = this.#hand;
      const known = sources.get(instanceId);
      if (known?.migrationId === migrationId) return known.begun;
      this.#hand.checkMayBegin(sources, instanceId, migrationId);
      await this.#probes.remove(instanceId);
      const { dom } = await this.#existing(instanceId, signal);
      const { xml } = await client.call("domainGetXmlDesc", { dom }, { signal });
      const targets = copiesDisks
        ? readGuest(xml, instanceId)
            .disks.filter(({ kind }) => kind === "own")
            .map(({ target }) => target)
        : [];
      const attempt = await SourceAttempt.begin(
        {
          ...{ client, log, dom, request, targets, notes: this.#notes },
          socketDirectory: socketDirectory(directory, migrationId, "source"),
          qemu: await qemuUser(client, (await abilities(signal)).accelerator, signal),
          onEnded: (ended) => {
            if (sources.get(instanceId) === ended) sources.delete(instanceId);
            void this.#hand.settleSoon(instanceId).finally(onEnded);
          },
        },
        signal,
      );
      if (attempt.isOver) throw lost();
      sources.set(instanceId, attempt);
      return attempt.begun;
    });
  }

  async prepare(request: PrepareDestinationRequest, signal: AbortSignal): Promise<PrepareDestinationResponse> {
    const { instanceId, migrationId } = request;
    return await this.#hand.turn(instanceId, async () => {
      const { destinations } = this.#hand;
      const known = destinations.get(instanceId);
      if (known?.migrationId === migrationId) return known.prepared;
      this.#hand.checkMayBegin(destinations, instanceId, migrationId);
      const attempt = await this.#preparation.run(request, signal, (ended) => {
        if (destinations.get(instanceId) === ended) destinations.delete(instanceId);
        void this.#hand.settleSoon(instanceId);
      });
      if (attempt.isOver) throw lost();
      destinations.set(instanceId, attempt);
      return attempt.prepared;
    });
  }

  async accept(migrationId: string, ticket: string, channel: string): Promise<Duplex> {
    const attempt = [...this.#hand.destinations.values()].find((one) => one.migrationId === migrationId);
    if (attempt === undefined || !attempt.isFor(ticket)) {
      throw new FleetError("UNAUTHENTICATED", "No guest is awaited with this ticket.", { reason: "WrongTicket" });
    }
    return await attempt.connect(channel);
  }

  async perform(
    request: PerformSourceRequest,
    carry: CarryConnection,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const attempt = this.#hand.sources.get(request.instanceId);
    if (attempt?.migrationId !== request.migrationId) {
      throw precondition("MigrationNotBegun", "This migration was not begun here, or it is over: begin another one.");
    }
    return await attempt.perform(request, carry, onProgress, signal);
  }

  async finish(request: FinishDestinationRequest, signal: AbortSignal): Promise<FinishDestinationResponse> {
    const { instanceId, migrationId, generation, cancelled, cookie } = request;
    return await this.#hand.turn(instanceId, async () => {
      const attempt = this.#hand.destinations.get(instanceId);
      const isOurs = attempt?.migrationId === migrationId;
      let answer = "";
      if (isOurs && cancelled) await attempt.cancel();
      // What became of it is seen below; where nobody knows, that is thrown.
      else if (isOurs) answer = (await attempt.finish(cookie)).cookie;
      await this.#hand.settle(instanceId);
      const domain = await this.#placed(instanceId, generation, signal);
      return { running: domain !== null, cookie: answer, nativeId: domain?.dom.uuid ?? "" };
    });
  }

  async confirm(request: ConfirmSourceRequest, signal: AbortSignal): Promise<ConfirmSourceResponse> {
    const { instanceId, migrationId, generation, cancelled, cookie } = request;
    const { log } = this.#options;
    const attempt = this.#hand.sources.get(instanceId);
    if (attempt !== undefined && attempt.migrationId !== migrationId) {
      throw conflict("Another migration of this instance is under way.", attempt.migrationId);
    }
    if (!cancelled && attempt !== undefined && !attempt.isPerformed) throw notPerformed();
    // libvirt itself may have lost the attempt: what is to be is done all the same.
    await attempt?.confirm(cancelled, cookie).catch((error: unknown) => {
      log.info({ migrationId, err: error }, "a migration is ended without libvirt's own word");
      return attempt.abandon();
    });
    return await this.#hand.turn(instanceId, async () => {
      const note = this.#notes.of(instanceId);
      const running = cancelled && (await this.#recovery.goOnAtSource({ instanceId, generation }, signal));
      if (!cancelled) await this.#endAtSource({ instanceId, generation }, signal);
      if (note?.role === "source" && note.generation === generation) await this.#hand.forget(note);
      return { running };
    });
  }

  async inspect({ instanceId, migrationId }: InspectMigrationRequest, signal: AbortSignal): Promise<InspectMigrationResponse> {
    const { sources, destinations } = this.#hand;
    return await this.#hand.turn(instanceId, async () => {
      const attemptKnown = [sources, destinations].some((attempts) => attempts.get(instanceId)?.migrationId === migrationId);
      const domain = await this.#options.index.find({ instanceId }, signal);
      if (domain === null) return { state: "ABSENT", generation: 0, attemptKnown };
      const state = destinations.has(instanceId) ? "INCOMING" : stateWord(domain);
      return { state, generation: domain.facts.mark?.generation ?? 0, attemptKnown };
    });
  }

  /** What is under way ends as it does when the agent is killed. */
  async close(): Promise<void> {
    await this.#hand.close();
    await this.#probes.close();
  }

  /** Not a guest that runs although nothing says that it was copied. */
  async #endAtSource(placement: { instanceId: string; generation: number }, signal: AbortSignal): Promise<void> {
    const note = this.#notes.of(placement.instanceId);
    const isPerformed = note?.role === "source" && note.state === "performed" && note.generation === placement.generation;
    const domain = await this.#placed(placement.instanceId, placement.generation, signal);
    if (domain !== null && !isPerformed && stateWord(domain) === "RUNNING") throw notPerformed();
    await this.#recovery.endAtSource(placement, signal);
  }

  async #placed(instanceId: string, generation: number, signal: AbortSignal): Promise<Domain | null> {
    const domain = await this.#options.index.find({ instanceId }, signal);
    return domain?.facts.mark?.generation === generation ? domain : null;
  }

  async #existing(instanceId: string, signal: AbortSignal): Promise<Domain> {
    const domain = await this.#options.index.find({ instanceId }, signal);
    if (domain === null) throw gone();
    return domain;
  }
}

function stateWord({ state, reason }: Domain): string {
  const condition = conditionOf(state, reason).state;
  if (condition === "RUNNING" || condition === "PAUSED") return condition;
  return condition === "STOPPING" ? "RUNNING" : "STOPPED";
}

function lost(): FleetError {
  return new FleetError("UNAVAILABLE", "The connection to libvirt was lost.", { reason: "LibvirtConnectionLost" });
}

function notPerformed(): FleetError {
  return precondition("MigrationNotPerformed", "The guest was not copied: it runs here, and is not ended.");
}
