import { SignJWT } from "jose";
import type { TestKubernetes } from "./test-kubernetes.ts";

/** The issuer of tokens that are kept in Secrets. */
const ISSUER = "kubernetes/serviceaccount";
const ABOUT = "kubernetes.io/serviceaccount";

/**
 * Writes the token into a Secret of type kubernetes.io/service-account-token, as the controller would that is missing here. Its account
 * must be there. Gives the token, which the API server takes as it takes a real one.
 */
export async function fillTokenSecret(cluster: TestKubernetes, namespace: string, name: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
  const secret = await cluster.mustRequest("GET", path);
  const account = secret.metadata.annotations?.["kubernetes.io/service-account.name"];
  if (secret.type !== "kubernetes.io/service-account-token" || account === undefined) throw new Error(`${name} is no token's Secret.`);
  const { metadata } = await cluster.mustRequest("GET", `/api/v1/namespaces/${namespace}/serviceaccounts/${account}`);
  const token = await new SignJWT({
    [`${ABOUT}/namespace`]: namespace,
    [`${ABOUT}/secret.name`]: name,
    [`${ABOUT}/service-account.name`]: account,
    [`${ABOUT}/service-account.uid`]: metadata.uid,
  })
    .setProtectedHeader({ alg: "ES256" })
    .setIssuer(ISSUER)
    .setSubject(`system:serviceaccount:${namespace}:${account}`)
    .sign(cluster.serviceAccountKey);
  const data = Object.fromEntries(
    Object.entries({ token, "ca.crt": cluster.caPem, namespace }).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
  );
  await cluster.mustRequest("PATCH", path, { data });
  return token;
}
