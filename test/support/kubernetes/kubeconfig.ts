import { stringify } from "yaml";
import type { TestCertificate } from "./test-authority.ts";

/** How a kubeconfig's user logs in; null: not at all. */
export type KubeconfigCredentials = { token: string } | TestCertificate | { username: string; password: string } | null;

export interface KubeconfigOptions {
  credentials?: KubeconfigCredentials;
  /** Null: the system's authorities. */
  caPem?: string | null;
  server?: string;
  /** The context's name; "test" unless told. */
  context?: string;
  namespace?: string;
  /** What else is said of the cluster: "tls-server-name", "insecure-skip-tls-verify", "proxy-url". */
  cluster?: Record<string, unknown>;
}

/** YAML of a kubeconfig with one cluster, user and context. */
export function writeKubeconfig(options: KubeconfigOptions & { server: string }): string {
  const { server, caPem = null, credentials = null, context = "test", namespace, cluster } = options;
  const authority = caPem === null ? {} : { "certificate-authority-data": base64(caPem) };
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: `${context}-cluster`, cluster: { server, ...authority, ...cluster } }],
    users: [{ name: `${context}-user`, user: userOf(credentials) }],
    contexts: [
      {
        name: context,
        context: { cluster: `${context}-cluster`, user: `${context}-user`, ...(namespace === undefined ? {} : { namespace }) },
      },
    ],
    "current-context": context,
  });
}

function userOf(credentials: KubeconfigCredentials): object {
  if (credentials === null || !("certificatePem" in credentials)) return credentials ?? {};
  return { "client-certificate-data": base64(credentials.certificatePem), "client-key-data": base64(credentials.keyPem) };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
