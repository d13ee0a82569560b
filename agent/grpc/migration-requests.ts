import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";
import { parseCertificateUri } from "../../platform/tls/certificate-names.ts";
import type {
  BeginSourceRequest,
  CheckDestinationRequest,
  ConfirmSourceRequest,
  DescribeSourceRequest,
  FinishDestinationRequest,
  InspectMigrationRequest,
  PerformSourceRequest,
  PrepareDestinationRequest,
} from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import { INSTANCE_ID } from "../instances/instance-store.ts";

const MIGRATION_ID = /^[A-Za-z0-9_-]{1,64}$/;
const TICKET = /^[\x21-\x7e]{32,256}$/;
const PROBE_NAME = /^[A-Za-z0-9._-]{1,128}$/;
const COOKIE = /^[A-Za-z0-9+/]*={0,2}$/;
const MAX_TEXT = 1024 * 1024;
const MAX_DOWNTIME_MS = 600_000;
const MAX_PATIENCE_SECONDS = 86_400;

/** What any agent can tell about a message. Each throws INVALID_ARGUMENT. */
export function checkDescribe(request: DescribeSourceRequest): void {
  checkPlacement(request);
}

export function checkCheck({ instanceId, description, probeName }: CheckDestinationRequest): void {
  checkInstance(instanceId);
  checkText("description", description);
  checkPattern("probe_name", probeName, PROBE_NAME, "It is what DescribeSource gave.");
}

export function checkBegin(request: BeginSourceRequest): void {
  checkAttempt(request);
  checkPlacement(request);
}

export function checkPrepare(request: PrepareDestinationRequest): void {
  const { ticket, description, domainXml, persistentXml, sourceCookie } = request;
  checkAttempt(request);
  checkPlacement(request);
  checkPattern("ticket", ticket, TICKET, "It has 32 to 256 characters, and no blanks.");
  checkText("description", description);
  checkText("domain_xml", domainXml);
  checkText("persistent_xml", persistentXml);
  checkCookie("source_cookie", sourceCookie);
}

export function checkPerform(request: PerformSourceRequest): void {
  const { destinationAddress, destinationPeer, ticket, cookie, destination } = request;
  checkAttempt(request);
  checkPlacement(request);
  parseHostPort(destinationAddress);
  if (parseCertificateUri(destinationPeer)?.kind !== "agent") {
    throw invalidArgument("destination_peer", "It is the name of an agent: fleetgraph://agent/<id>.");
  }
  checkPattern("ticket", ticket, TICKET, "It has 32 to 256 characters, and no blanks.");
  checkCookie("cookie", cookie);
  checkText("destination", destination);
  checkNumber("max_downtime_ms", request.maxDowntimeMs, 0, MAX_DOWNTIME_MS);
  checkNumber("bandwidth_bps", request.bandwidthBps, 0, Number.MAX_SAFE_INTEGER);
  checkNumber("auto_converge_seconds", request.autoConvergeSeconds, 0, MAX_PATIENCE_SECONDS);
}

export function checkEnd(request: FinishDestinationRequest | ConfirmSourceRequest): void {
  checkAttempt(request);
  checkPlacement(request);
  checkCookie("cookie", request.cookie);
}

export function checkInspect(request: InspectMigrationRequest): void {
  checkAttempt(request);
}

/** Of the tunnel's first message. */
export function checkTunnel({ migrationId, ticket }: { migrationId: string; ticket: string }): void {
  checkPattern("migration_id", migrationId, MIGRATION_ID, "It is the id of a migration.");
  checkPattern("ticket", ticket, TICKET, "It has 32 to 256 characters, and no blanks.");
}

function checkAttempt({ migrationId, instanceId }: { migrationId: string; instanceId: string }): void {
  checkPattern("migration_id", migrationId, MIGRATION_ID, "It is 1 to 64 letters, digits, dashes and underscores.");
  checkInstance(instanceId);
}

function checkPlacement({ instanceId, generation }: { instanceId: string; generation: number }): void {
  checkInstance(instanceId);
  checkNumber("generation", generation, 1, Number.MAX_SAFE_INTEGER);
}

function checkInstance(instanceId: string): void {
  checkPattern("instance_id", instanceId, INSTANCE_ID, "An instance's id is inst- and letters and digits.");
}

function checkCookie(field: string, cookie: string): void {
  checkPattern(field, cookie.slice(0, MAX_TEXT), COOKIE, "It is Base64, as another call gave it.");
  if (cookie.length > MAX_TEXT) throw invalidArgument(field, `It has at most ${MAX_TEXT} characters.`);
}

function checkText(field: string, text: string): void {
  if (text.length === 0 || text.length > MAX_TEXT) throw invalidArgument(field, `It has 1 to ${MAX_TEXT} characters.`);
}

function checkNumber(field: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) throw invalidArgument(field, `It is a number from ${min} to ${max}.`);
}

function checkPattern(field: string, text: string, pattern: RegExp, message: string): void {
  if (!pattern.test(text)) throw invalidArgument(field, message);
}
