import { X509Certificate } from "node:crypto";
import { parseJson } from "./answer-body.ts";
import { type ClusterCredentials, KubernetesFailure } from "./types.ts";

type Refusal = readonly [reason: "Unauthorized" | "ClientCertificateRefused", message: string];

/** A 401 in the words that fit what was sent: what the API says of it is always the same. */
export function loginFailure(credentials: ClusterCredentials, now: Date): KubernetesFailure {
  return new KubernetesFailure("UNAVAILABLE", "AUTHENTICATION", ...refusalOf(credentials, now), { status: 401 });
}

function refusalOf(credentials: ClusterCredentials, now: Date): Refusal {
  switch (credentials.kind) {
    case "TOKEN":
      return ["Unauthorized", tokenRefusal(credentials.token, now)];
    case "CLIENT_CERTIFICATE":
      return ["ClientCertificateRefused", certificateRefusal(new X509Certificate(credentials.certificatePem), now)];
    case "BASIC":
      return ["Unauthorized", "The API server does not accept the kubeconfig's user name and password (401)."];
    default:
      return ["Unauthorized", "The API server wants a login (401), and the kubeconfig's user has none."];
  }
}

function certificateRefusal({ validFrom, validTo }: X509Certificate, now: Date): string {
  const [from, to] = [new Date(validFrom), new Date(validTo)];
  if (to < now) return `The kubeconfig's client certificate expired at ${to.toISOString()}, and the API server does not accept it (401).`;
  if (from > now) return `The kubeconfig's client certificate is not valid before ${from.toISOString()} (401).`;
  return "The API server does not accept the kubeconfig's client certificate (401): it is from another authority, or revoked.";
}

/** A service account's token tells until when it is valid. */
function tokenRefusal(token: string, now: Date): string {
  const claims = parseJson(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")) as { exp?: unknown } | null | undefined;
  const expiry = typeof claims?.exp === "number" ? new Date(claims.exp * 1000) : null;
  if (expiry !== null && expiry < now) return `The kubeconfig's token expired at ${expiry.toISOString()} (401).`;
  return "The API server does not accept the kubeconfig's token (401): it is wrong, expired or revoked.";
}
