import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FleetError } from "../errors/fleet-error.ts";
import { CA_CERTIFICATE_FILE, readOnlyCa } from "./certificate-authority.ts";
import { type KeyPair, loadKeyPair, makePrivateDir, replaceFile, saveKeyPair } from "./certificate-files.ts";

/** What a part of the control plane needs to speak mTLS where it does not hold the CA's key. */
export interface ControlCredentials extends KeyPair {
  caPem: string;
}

/** The part's own key and certificate. */
export const CONTROL_FILE = "control.pem";

/** Keeps the credentials in `dir` as `ca-certificate.pem` and `control.pem`, for a part that runs in another process or place. */
export async function saveControlCredentials(dir: string, credentials: ControlCredentials): Promise<void> {
  await makePrivateDir(dir);
  await replaceFile(join(dir, CA_CERTIFICATE_FILE), readOnlyCa(credentials.caPem).certificatePem, 0o644);
  await saveKeyPair(join(dir, CONTROL_FILE), credentials);
}

/** Reads what `saveControlCredentials` kept. Throws FAILED_PRECONDITION that names the missing or damaged file. */
export async function loadControlCredentials(dir: string): Promise<ControlCredentials> {
  const caFile = join(dir, CA_CERTIFICATE_FILE);
  const controlFile = join(dir, CONTROL_FILE);
  const caPem = await readFile(caFile, "utf8").catch((cause: unknown) => {
    throw new FleetError("FAILED_PRECONDITION", `The CA's certificate is missing: ${caFile}.`, { cause });
  });
  const pair = await loadKeyPair(controlFile);
  if (pair === null) throw new FleetError("FAILED_PRECONDITION", `The control certificate is missing: ${controlFile}.`);
  return { caPem: readOnlyCa(caPem).certificatePem, ...pair };
}
