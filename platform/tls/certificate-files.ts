import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FleetError } from "../errors/fleet-error.ts";

/** A certificate and its key, both as PEM. The certificate may be followed by those that issued it. */
export interface KeyPair {
  certificatePem: string;
  /** PKCS #8. */
  keyPem: string;
}

/** Makes the directory, which only its owner may enter. */
export async function makePrivateDir(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
}

/** Replaces the file at once: a reader sees the old text or the new one, also when the machine stops in between. */
export async function replaceFile(path: string, text: string, mode = 0o600): Promise<void> {
  const temporary = await writeTemporary(path, text, mode);
  await rename(temporary, path).catch(async (error: unknown) => {
    await unlink(temporary).catch(() => undefined);
    throw error;
  });
  await syncDir(dirname(path));
}

/** Makes the file, whole and at once. False where it exists already: then it is left as it is. */
export async function createFileOnce(path: string, text: string, mode = 0o600): Promise<boolean> {
  const temporary = await writeTemporary(path, text, mode);
  try {
    // A link, unlike a rename, fails where another process was first.
    await link(temporary, path);
    await syncDir(dirname(path));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}

/** The file's text, null where there is none. Throws FAILED_PRECONDITION where others than its owner can read it. */
export async function readPrivateFile(path: string): Promise<string | null> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new FleetError("FAILED_PRECONDITION", `${path} holds a key and is open to others: chmod 600 it, and consider the key known.`);
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Keeps key and certificate in one file, so that they always fit each other. */
export async function saveKeyPair(path: string, pair: KeyPair): Promise<void> {
  await makePrivateDir(dirname(path));
  await replaceFile(path, keyPairText(pair));
}

/** The pair that `saveKeyPair` kept; null where there is none. Throws FAILED_PRECONDITION for a damaged file. */
export async function loadKeyPair(path: string): Promise<KeyPair | null> {
  const text = await readPrivateFile(path);
  return text === null ? null : parseKeyPair(text, path);
}

/** Key and certificate as one text. */
export function keyPairText(pair: KeyPair): string {
  return `${pair.keyPem.trim()}\n${pair.certificatePem.trim()}\n`;
}

/** Takes `keyPairText` apart again. Throws FAILED_PRECONDITION where a part is missing or the two do not fit. */
export function parseKeyPair(text: string, path: string): KeyPair {
  const keyPem = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(text)?.[0];
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  try {
    if (keyPem === undefined || certificates === null) throw new Error("a part is missing");
    const certificatePem = `${certificates.join("\n")}\n`;
    if (!new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem))) throw new Error("key and certificate do not fit");
    return { keyPem: `${keyPem}\n`, certificatePem };
  } catch (cause) {
    throw new FleetError("FAILED_PRECONDITION", `${path} is not a key with its certificate.`, { cause });
  }
}

/** True in the last third of a certificate's life, and after it. Takes PEM or DER; `now` in milliseconds since the epoch. */
export function needsRenewal(certificate: string | Uint8Array, now = Date.now()): boolean {
  return now >= renewalTime(certificate).getTime();
}

/** When the last third of the certificate's life begins. */
export function renewalTime(certificate: string | Uint8Array): Date {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  return new Date(validToDate.getTime() - (validToDate.getTime() - validFromDate.getTime()) / 3);
}

async function writeTemporary(path: string, text: string, mode: number): Promise<string> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(6).toString("hex")}`);
  const file = await open(temporary, "wx", mode);
  try {
    await file.writeFile(text);
    await file.chmod(mode);
    await file.sync();
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
  return temporary;
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
