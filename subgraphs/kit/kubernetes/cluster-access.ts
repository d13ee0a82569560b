import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { incomplete, kubeconfigError, malformed } from "./kubeconfig-errors.ts";
import type { KubeconfigMapping } from "./kubeconfig-mapping.ts";
import type { ClusterAccess, ClusterCredentials } from "./types.ts";

const READ_ONLY_ACCOUNT = "Apply what `fleetgraph cluster manifest` prints: it makes a read-only account, and says how to use it here.";
const EMBED = "`kubectl config view --minify --flatten --raw` prints a kubeconfig with its files embedded.";
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
/** What a header may carry. */
const TOKEN = /^[\x21-\x7e]+$/;

/** A cluster's part of an access. Throws INVALID_ARGUMENT with the place where it cannot be used. */
export function readCluster(cluster: KubeconfigMapping): Omit<ClusterAccess, "context" | "credentials"> {
  refuseFile(cluster, "certificate-authority", "certificate-authority-data");
  const caPem = cluster.decoded("certificate-authority-data");
  const insecureSkipTlsVerify = cluster.flag("insecure-skip-tls-verify");
  if (caPem !== null) checkAuthorities(caPem, cluster.at("certificate-authority-data"));
  if (caPem !== null && insecureSkipTlsVerify) {
    const place = cluster.at("insecure-skip-tls-verify");
    throw malformed(place, "The kubeconfig has both an authority and insecure-skip-tls-verify: leave one of them out.");
  }
  const proxyUrl = cluster.has("proxy-url") ? readUrl(cluster, "proxy-url", "http:").origin : null;
  const url = readUrl(cluster, "server", "https:");
  const server = url.origin + url.pathname.replace(/\/+$/, "");
  return { server, tlsServerName: cluster.text("tls-server-name"), caPem, insecureSkipTlsVerify, proxyUrl };
}

/**
 * How to log in. Where there are several ways, the one counts that an API server tries first: the client certificate, then the token.
 * What would have the server run a program or read a file is refused, also beside another way.
 */
export function readCredentials(user: KubeconfigMapping): ClusterCredentials {
  for (const key of ["exec", "auth-provider"]) {
    if (user.has(key)) throw execRefused(user.at(key));
  }
  refuseFile(user, "tokenFile");
  refuseFile(user, "client-certificate", "client-certificate-data");
  refuseFile(user, "client-key", "client-key-data");
  for (const key of ["as", "as-uid", "as-groups", "as-user-extra"]) {
    if (!user.has(key)) continue;
    throw kubeconfigError("KubeconfigUnsupported", user.at(key), "Acting as another user is not supported: use that user's own account.");
  }
  const certificatePem = user.decoded("client-certificate-data");
  const keyPem = user.decoded("client-key-data");
  if (certificatePem !== null || keyPem !== null) return readCertificate(user, certificatePem, keyPem);
  const token = user.text("token");
  if (token !== null) {
    if (!TOKEN.test(token)) throw malformed(user.at("token"), "The kubeconfig's token has characters that no token has.");
    return { kind: "TOKEN", token };
  }
  const username = user.text("username");
  const password = user.text("password");
  if (username === null && password === null) return { kind: "NONE" };
  if (username === null || password === null) {
    throw incomplete(user.place, "The kubeconfig's user has only one of username and password.");
  }
  return { kind: "BASIC", username, password };
}

function readCertificate(user: KubeconfigMapping, certificatePem: string | null, keyPem: string | null): ClusterCredentials {
  if (certificatePem === null) throw incomplete(user.at("client-certificate-data"), "The kubeconfig's user has a key, and no certificate.");
  if (keyPem === null) throw incomplete(user.at("client-key-data"), "The kubeconfig's user has a certificate, and no key.");
  checkAuthorities(certificatePem, user.at("client-certificate-data"));
  try {
    createSecureContext({ cert: certificatePem, key: keyPem });
  } catch {
    throw malformed(user.at("client-key-data"), "The kubeconfig's client key is no readable key, or not that of its certificate.");
  }
  return { kind: "CLIENT_CERTIFICATE", certificatePem, keyPem };
}

function checkAuthorities(pem: string, place: string): void {
  const certificates = pem.match(CERTIFICATE) ?? [];
  try {
    if (certificates.length === 0) throw new Error("no certificate");
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch {
    throw malformed(place, `The kubeconfig's ${place} holds no readable certificate (PEM in base64).`);
  }
}

function readUrl(cluster: KubeconfigMapping, key: string, protocol: "http:" | "https:"): URL {
  const place = cluster.at(key);
  const text = cluster.text(key);
  if (text === null) throw incomplete(place, `The kubeconfig's ${place} is missing.`);
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.hostname === "")
    throw malformed(place, `The kubeconfig's ${place} is no address of the form ${protocol}//host:port.`);
  if (url.username !== "" || url.password !== "") {
    throw kubeconfigError("KubeconfigUnsupported", place, `The kubeconfig's ${place} has a user name or password in it, which is refused.`);
  }
  if (url.protocol !== protocol) {
    const why = key === "server" ? "what logs in would be readable on the way" : "no other kind of proxy is supported";
    throw kubeconfigError("KubeconfigUnsupported", place, `The kubeconfig's ${place} has to begin with ${protocol}// (${why}).`);
  }
  if (url.search !== "" || url.hash !== "") throw malformed(place, `The kubeconfig's ${place} has more than a host, a port and a path.`);
  return url;
}

/** A path to a file is of no use where its contents stand beside it. */
function refuseFile(mapping: KubeconfigMapping, key: string, embedded?: string): void {
  if (!mapping.has(key) || (embedded !== undefined && mapping.has(embedded))) return;
  const message = `The kubeconfig's ${mapping.at(key)} is a file, which this server does not read. ${EMBED} ${READ_ONLY_ACCOUNT}`;
  throw kubeconfigError("FileReferenceRefused", mapping.at(key), message);
}

function execRefused(place: string): FleetError {
  const message = `The kubeconfig's ${place} would run a program on this server to log in, which is refused. ${READ_ONLY_ACCOUNT}`;
  return kubeconfigError("ExecPluginRefused", place, message);
}
