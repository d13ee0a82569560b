import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { FleetError } from "../errors/fleet-error.ts";

/*
 * A sealed box is text: "fg1.<key id>.<base64url of nonce (12 bytes), what is sealed, tag (16 bytes)>", by AES-256-GCM. Its additional data
 * are version, key id and purpose: a box that is moved to another place does not open there.
 */

export const KEY_BYTES = 32;
const VERSION = "fg1";
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const BOX = /^fg1\.([0-9a-f]{16})\.([\w-]+)$/;

/** Not what was sealed, or not for this purpose. */
export class SecretDamaged extends FleetError {
  constructor(cause?: unknown) {
    super("FAILED_PRECONDITION", "A stored secret is not as it was sealed: set it again.", { reason: "SecretDamaged", cause });
  }
}

/** Told from the key alone, so that no name can be wrong; tells nothing of the key. 16 hexadecimal digits. */
export function keyIdOf(key: Buffer): string {
  return createHmac("sha256", key).update("fleetgraph: id of a secret key").digest("hex").slice(0, 16);
}

export function sealBox(secret: string, purpose: string, { id, key }: { id: string; key: Buffer }): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(additionalData(id, purpose));
  const sealed = Buffer.concat([nonce, cipher.update(secret, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `${VERSION}.${id}.${sealed.toString("base64url")}`;
}

/** The parts of a box; they are not checked against a key. Throws SecretDamaged for what is no box. */
export function readBox(box: string): { keyId: string; sealed: Buffer } {
  const [, keyId, text] = BOX.exec(box) ?? [];
  if (keyId === undefined || text === undefined) throw new SecretDamaged();
  const sealed = Buffer.from(text, "base64url");
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new SecretDamaged();
  return { keyId, sealed };
}

/** Throws SecretDamaged. */
export function openBox(box: string, purpose: string, key: Buffer): string {
  const { keyId, sealed } = readBox(box);
  const [nonce, tag] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(-TAG_BYTES)];
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
    .setAAD(additionalData(keyId, purpose))
    .setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new SecretDamaged(cause);
  }
}

function additionalData(keyId: string, purpose: string): Buffer {
  return Buffer.from(`${VERSION}.${keyId}.${purpose}`);
}
