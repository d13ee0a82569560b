import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { FleetError } from "../errors/fleet-error.ts";
import { createFileOnce, makePrivateDir, readPrivateFile } from "../tls/certificate-files.ts";
import { KEY_BYTES, keyIdOf, openBox, readBox, SecretDamaged, sealBox } from "./sealed-box.ts";

/** In the folder of the keys: one key a line, in base64. Lines that begin with # are for people. */
export const SECRET_KEYS_FILE = "secret-keys";

const PREAMBLE = `# The keys of what is kept sealed in the databases: 32 random bytes in base64, one key a line. All of them open, the last one seals.
# Keep a copy where the copies of the databases are not: without its key, a secret cannot be read.
`;

/**
 * Seals the secrets that a database keeps (AES-256-GCM), and opens them. The keys are lines of a file that only its owner reads; the first
 * `open` makes it. A new line at its end (`addKey`) is the key that seals from the next start on. One that others have begun to use is read when it is
 * first met, so that replicas need not start at the same time; they need the same file.
 */
export class SecretKeys {
  readonly #file: string;
  #keys: ReadonlyMap<string, Buffer>;

  private constructor(file: string, keys: ReadonlyMap<string, Buffer>) {
    this.#file = file;
    this.#keys = keys;
  }

  /**
   * Opens the keys in the folder, made where it has none. Of several processes that make one at once, one wins and all get its key.
   * Throws FAILED_PRECONDITION for a file that others can read, or that has something else in it than keys.
   */
  static async open(dir: string): Promise<SecretKeys> {
    const file = join(dir, SECRET_KEYS_FILE);
    // A folder that was mounted with its keys may not be written.
    if ((await readPrivateFile(file)) === null) {
      await makePrivateDir(dir);
      await createFileOnce(file, `${PREAMBLE}${randomBytes(KEY_BYTES).toString("base64")}\n`);
    }
    return new SecretKeys(file, await readKeys(file));
  }

  /** The secret as it may be stored. Opens only for the same `purpose`, which tells one place where secrets are kept from every other. */
  seal(secret: string, purpose: string): string {
    const [id, key] = [...this.#keys].at(-1) as [string, Buffer];
    return sealBox(secret, purpose, { id, key });
  }

  /**
   * What `seal` was given. Throws FAILED_PRECONDITION: reason SecretKeyMissing where its key is not among these, SecretDamaged where the box
   * was changed, cut, or sealed for another purpose.
   */
  async open(box: string, purpose: string): Promise<string> {
    const { keyId } = readBox(box);
    const key = this.#keys.get(keyId) ?? (await this.#readAgain()).get(keyId);
    if (key === undefined) throw keyMissing(keyId);
    return openBox(box, purpose, key);
  }

  /** Whether the newest key sealed it. False for what is no box. */
  isNewest(box: string): boolean {
    try {
      return readBox(box).keyId === [...this.#keys.keys()].at(-1);
    } catch (error) {
      if (error instanceof SecretDamaged) return false;
      throw error;
    }
  }

  /**
   * Adds a key, which seals from now on: here, and in every other process that has the file once it was started again or met what this key
   * sealed. Throws what the file system does where the file may not be written.
   */
  async addKey(): Promise<void> {
    const text = (await readPrivateFile(this.#file)) ?? "";
    const key = randomBytes(KEY_BYTES).toString("base64");
    const file = await open(this.#file, "a");
    try {
      // One write, which nobody sees half: of two that add one at once, both are kept.
      await file.write(`${text.endsWith("\n") ? "" : "\n"}${key}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#readAgain();
  }

  async #readAgain(): Promise<ReadonlyMap<string, Buffer>> {
    this.#keys = await readKeys(this.#file);
    return this.#keys;
  }
}

/** By their ids, in the order of the lines. */
async function readKeys(file: string): Promise<ReadonlyMap<string, Buffer>> {
  const text = await readPrivateFile(file);
  if (text === null) throw new FleetError("FAILED_PRECONDITION", `${file}, which holds the keys of stored secrets, is gone: put it back.`);
  const keys = new Map<string, Buffer>();
  for (const [index, line] of text.split("\n").entries()) {
    const written = line.trim();
    if (written === "" || written.startsWith("#")) continue;
    const key = Buffer.from(written, "base64");
    if (key.length !== KEY_BYTES || key.toString("base64") !== written) {
      throw new FleetError("FAILED_PRECONDITION", `Line ${index + 1} of ${file} is no key: ${KEY_BYTES} bytes in base64 are needed.`);
    }
    // One that stands there twice counts where it stands last.
    keys.delete(keyIdOf(key));
    keys.set(keyIdOf(key), key);
  }
  if (keys.size === 0)
    throw new FleetError("FAILED_PRECONDITION", `${file} has no key: write ${KEY_BYTES} random bytes in base64 into it.`);
  return keys;
}

function keyMissing(keyId: string): FleetError {
  return new FleetError(
    "FAILED_PRECONDITION",
    `This secret was sealed with the key ${keyId}, which the control plane does not have (secrets.keyDir): put that key back, or set the secret again.`,
    { reason: "SecretKeyMissing", details: { keyId } },
  );
}
