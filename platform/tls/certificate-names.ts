import { invalidArgument } from "../errors/fleet-error.ts";

/** What a certificate stands for; its only URI SAN says so. */
export type CertificateName = { kind: "agent"; id: string } | { kind: "control"; name: string };

const URI = /^fleetgraph:\/\/(agent|control)\/([A-Za-z0-9._-]{1,128})$/;

/** `fleetgraph://agent/<id>`. Throws INVALID_ARGUMENT for an id that does not fit into a URI as it is. */
export function agentUri(agentId: string): string {
  return checked(`fleetgraph://agent/${agentId}`, "agentId");
}

/** `fleetgraph://control/<name>`: a part of the control plane. */
export function controlUri(name: string): string {
  return checked(`fleetgraph://control/${name}`, "name");
}

/** The name in a URI of ours; null for any other text. */
export function parseCertificateUri(uri: string): CertificateName | null {
  const [, kind, name] = URI.exec(uri) ?? [];
  if (kind === undefined || name === undefined) return null;
  return kind === "agent" ? { kind, id: name } : { kind: "control", name };
}

function checked(uri: string, field: string): string {
  if (!URI.test(uri)) throw invalidArgument(field, "A name in a certificate has 1 to 128 letters, digits, dots, dashes or underscores.");
  return uri;
}
