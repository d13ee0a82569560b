import type { KeyObject } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeKubeconfig } from "./kubeconfig.ts";
import type { TestAuthority, TestCertificateOptions } from "./test-authority.ts";
import type { TestEtcd } from "./test-etcd.ts";

export interface ApiserverSettings {
  directory: string;
  address: string;
  port: number;
  etcd: TestEtcd;
  authority: TestAuthority;
  /** Known without asking, also where nothing else can be reached. */
  adminToken: string;
  serviceAccountKey: KeyObject;
  /** Whom other tokens belong to: test-tokens.ts. */
  tokensUrl: string;
  watchCache: boolean;
  serverCertificate: Partial<TestCertificateOptions>;
}

/** Writes what kube-apiserver reads into the directory and gives its arguments. */
export async function writeApiserverSettings(settings: ApiserverSettings): Promise<string[]> {
  const { directory, address, etcd, authority } = settings;
  const write = async (name: string, text: string) => {
    const path = join(directory, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const names = [address, "localhost", "kubernetes", "kubernetes.default.svc"];
  const server = await authority.sign({ commonName: "kube-apiserver", names, ...settings.serverCertificate });
  const keyPem = settings.serviceAccountKey.export({ type: "sec1", format: "pem" }).toString();
  const serviceAccountKey = await write("service-accounts.pem", keyPem);
  return [
    ...["--etcd-servers", etcd.url, "--etcd-prefix", etcd.newPrefix(), `--watch-cache=${settings.watchCache}`],
    ...["--bind-address", address, "--advertise-address", address, "--secure-port", String(settings.port)],
    ...["--cert-dir", directory, "--client-ca-file", await write("ca.pem", authority.caPem)],
    ...["--tls-cert-file", await write("server.pem", server.certificatePem)],
    ...["--tls-private-key-file", await write("server-key.pem", server.keyPem)],
    ...["--token-auth-file", await write("tokens.csv", `${settings.adminToken},admin,admin,"system:masters"\n`)],
    ...["--authentication-token-webhook-config-file", await write("tokens.yaml", writeKubeconfig({ server: settings.tokensUrl }))],
    ...["--authentication-token-webhook-version", "v1", "--authentication-token-webhook-cache-ttl", "1s"],
    ...["--service-account-key-file", serviceAccountKey, "--service-account-signing-key-file", serviceAccountKey],
    ...["--service-account-issuer", "https://kubernetes.default.svc", "--api-audiences", "https://kubernetes.default.svc"],
    ...["--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/16", "--allow-privileged=true"],
    // Service accounts' tokens and nodes' taints would need controllers; a Service "kubernetes" this machine's address.
    ...["--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition", "--endpoint-reconciler-type", "none"],
    ...["--kubelet-preferred-address-types", "InternalIP"],
  ];
}
