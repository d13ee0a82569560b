import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { type CreateSnapshotRequest, type NodeSnapshot, Quiesce } from "../../../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import type { Ref } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { SnapshotDriver } from "../../snapshot-driver.ts";
import { gone } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { isActive } from "../domain-state.ts";
import { attempt, orNull } from "../driver-errors.ts";
import { attribute, element, elements, parseXml } from "../xml.ts";
import { GuestFreeze, type NotFrozen } from "./guest-freeze.ts";
import { readSnapshotXml, snapshotXml } from "./snapshot-xml.ts";

export interface SnapshotsOptions {
  client: LibvirtClient;
  index: DomainIndex;
  /** A domain that is being moved has neither snapshots made nor reverted. */
  log: Logger;
}

/** Much memory on a slow disk. */
const LONG_MS = 30 * 60_000;
/** More than anybody keeps; each makes its disk's tables longer. */
const MAX_SNAPSHOTS = 100;

/** Snapshots that libvirt keeps in the disks themselves (qcow2), with the guest's memory where it runs. */
export class DomainSnapshots implements SnapshotDriver {
  readonly #client: LibvirtClient;
  readonly #index: DomainIndex;
  readonly #freeze: GuestFreeze;

  constructor({ client, index, log }: SnapshotsOptions) {
    this.#client = client;
    this.#index = index;
    this.#freeze = new GuestFreeze(client, log);
  }

  async listSnapshots(ref: Ref, signal: AbortSignal): Promise<NodeSnapshot[]> {
    const { dom } = await this.#domain(ref, signal);
    const [{ snapshots }, current] = await attempt("list the snapshots", () =>
      Promise.all([this.#client.call("domainListAllSnapshots", { dom }, { signal }), this.#current(dom, signal)]),
    );
    const read = snapshots.map(({ name }) => this.#read(dom, name, current, signal));
    return (await Promise.all(read)).filter((snapshot) => snapshot !== null).sort((a, b) => timeOf(a) - timeOf(b));
  }

  async createSnapshot(ref: Ref, request: CreateSnapshotRequest, signal: AbortSignal): Promise<NodeSnapshot> {
    const domain = await this.#domain(ref, signal);
    const { dom, state } = domain;
    const { snapshotId, quiesce } = request;
    const there = await this.#read(dom, snapshotId, await this.#current(dom, signal), signal);
    if (there !== null) return there;
    if (domain.saved) throw precondition("InstanceSuspended", "Its memory is on the host's disk: resume or stop it first.");
    await this.#check(domain, signal);
    const isRunning = isActive(state);
    if (quiesce === Quiesce.REQUIRED && isRunning && !domain.facts.agentConnected) throw noAgent();
    const asks = isRunning && quiesce !== Quiesce.NEVER;
    const notFrozen = asks ? await this.#freezing(domain, quiesce, signal) : "NotAsked";
    try {
      const notes = {
        name: request.name,
        description: request.description,
        quiesced: notFrozen === null,
        notQuiescedReason: isRunning ? (notFrozen ?? "") : "NotRunning",
      };
      const xmlDesc = snapshotXml(snapshotId, notes);
      await attempt("take a snapshot", () =>
        this.#client.call("domainSnapshotCreateXml", { dom, xmlDesc }, { signal, timeoutMs: LONG_MS }),
      );
    } finally {
      if (asks && notFrozen !== "NoGuestAgent") await this.#freeze.thaw(dom);
    }
    return await this.#existing(dom, snapshotId, signal);
  }

  async revertSnapshot(ref: Ref, snapshotId: string, signal: AbortSignal): Promise<NodeSnapshot> {
    const { dom } = await this.#domain(ref, signal);
    const snapshot = await this.#existing(dom, snapshotId, signal);
    const snap = { name: snapshotId, dom };
    await attempt("go back to the snapshot", () => this.#client.call("domainRevertToSnapshot", { snap }, { signal, timeoutMs: LONG_MS }));
    this.#index.drop(dom.uuid);
    // Its memory is that of a guest that was frozen.
    if (snapshot.quiesced && snapshot.hasMemory) await this.#freeze.thaw(dom);
    return { ...snapshot, current: true };
  }

  async deleteSnapshot(ref: Ref, snapshotId: string, signal: AbortSignal): Promise<void> {
    const { dom } = await this.#domain(ref, signal);
    const snap = { name: snapshotId, dom };
    const erase = this.#client.call("domainSnapshotDelete", { snap }, { signal, timeoutMs: LONG_MS });
    await attempt("delete the snapshot", () => orNull(erase, "NO_DOMAIN_SNAPSHOT"));
  }

  /** What an agent that was killed left frozen. Never throws. */
  async thawLeft(signal: AbortSignal): Promise<void> {
    const domains = await this.#index.all(signal).catch(() => []);
    await this.#freeze.thawLeft(
      domains.filter(({ state }) => isActive(state)),
      signal,
    );
  }

  async #freezing(domain: Domain, quiesce: Quiesce, signal: AbortSignal): Promise<NotFrozen> {
    const notFrozen = await attempt("freeze the guest", () => this.#freeze.freeze(domain, signal));
    if (notFrozen === null || quiesce !== Quiesce.REQUIRED) return notFrozen;
    await this.#freeze.thaw(domain.dom);
    throw precondition("QuiesceFailed", "The guest's agent did not freeze its file systems: see its log, or do without.");
  }

  /** FAILED_PRECONDITION SnapshotsUnsupported, TooManySnapshots. */
  async #check({ dom }: Domain, signal: AbortSignal): Promise<void> {
    const [{ xml }, { snapshots }] = await attempt("look at the domain", () =>
      Promise.all([
        this.#client.call("domainGetXmlDesc", { dom }, { signal }),
        this.#client.call("domainListAllSnapshots", { dom }, { signal }),
      ]),
    );
    if (snapshots.length >= MAX_SNAPSHOTS) {
      throw new FleetError("RESOURCE_EXHAUSTED", `An instance has at most ${MAX_SNAPSHOTS} snapshots: delete some.`, {
        reason: "TooManySnapshots",
      });
    }
    const domain = parseXml(xml, "domain");
    const [os, loader] = [element(domain, "os"), element(domain, "os", "loader")];
    if (attribute(os, "firmware") === "efi" || attribute(loader, "type") === "pflash")
      throw unsupported("UEFI keeps variables in a file that this libvirt cannot put into a snapshot");
    for (const disk of elements(element(domain, "devices"), "disk")) {
      if (element(disk, "readonly") !== null) continue;
      const format = attribute(element(disk, "driver"), "type");
      const name = attribute(element(disk, "target"), "dev");
      if (format !== "qcow2") throw unsupported(`its disk ${name} is ${format}, and only qcow2 holds snapshots: detach it first`);
    }
  }

  async #domain(ref: Ref, signal: AbortSignal): Promise<Domain> {
    const domain = await attempt("look for the domain", () => this.#index.find(ref, signal));
    if (domain === null) throw gone();
    return domain;
  }

  async #existing(dom: DomainReference, snapshotId: string, signal: AbortSignal): Promise<NodeSnapshot> {
    const snapshot = await this.#read(dom, snapshotId, await this.#current(dom, signal), signal);
    if (snapshot === null) throw notFound("Snapshot", snapshotId);
    return snapshot;
  }

  async #read(dom: DomainReference, name: string, current: string | null, signal: AbortSignal): Promise<NodeSnapshot | null> {
    const read = this.#client.call("domainSnapshotGetXmlDesc", { snap: { name, dom } }, { signal });
    const answer = await attempt("read a snapshot", () => orNull(read, "NO_DOMAIN_SNAPSHOT"));
    return answer === null ? null : readSnapshotXml(answer.xml, current);
  }

  async #current(dom: DomainReference, signal: AbortSignal): Promise<string | null> {
    const ask = this.#client.call("domainSnapshotCurrent", { dom }, { signal });
    const answer = await attempt("look for the current snapshot", () => orNull(ask, "NO_DOMAIN_SNAPSHOT"));
    return answer?.snap.name ?? null;
  }
}

function timeOf({ createdAt }: NodeSnapshot): number {
  return createdAt?.getTime() ?? 0;
}

function unsupported(why: string): FleetError {
  return precondition("SnapshotsUnsupported", `The instance cannot have snapshots: ${why}.`);
}

function noAgent(): FleetError {
  return precondition("NoGuestAgent", "The guest's agent (qemu-guest-agent) does not answer: start it in the guest, or do without.");
}
