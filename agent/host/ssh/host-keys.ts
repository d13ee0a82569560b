import { createHash } from "node:crypto";
import ssh2, { type ServerHostKeyAlgorithm } from "ssh2";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";

/** The ways to prove each type of key, best first. */
const ALGORITHMS: Record<string, readonly ServerHostKeyAlgorithm[]> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

/** The host keys of which one is expected: "ssh-ed25519 AAAA…", a comment after it is ignored. */
export class PinnedKeys {
  readonly #keys = new Map<string, string>();

  /** Throws INVALID_ARGUMENT for what is no such key. */
  constructor(lines: readonly string[]) {
    for (const line of lines) {
      const [type = "", base64 = ""] = line.trim().split(/\s+/);
      if (!(type in ALGORITHMS) || keyType(Buffer.from(base64, "base64")) !== type) {
        throw invalidArgument(
          "hostKeys",
          `A host key is ${Object.keys(ALGORITHMS).join(", ")} and then base64, as \`ssh-keyscan\` prints it.`,
        );
      }
      this.#keys.set(base64.replace(/=+$/, ""), type);
    }
  }

  /** At first contact: whatever the host shows is taken. */
  get none(): boolean {
    return this.#keys.size === 0;
  }

  includes(key: Buffer): boolean {
    return this.#keys.has(key.toString("base64").replace(/=+$/, ""));
  }

  /** A host has keys of several types, and is to show one of those that are known. */
  get algorithms(): ServerHostKeyAlgorithm[] {
    const types = this.none ? Object.keys(ALGORITHMS) : [...new Set(this.#keys.values())];
    return types.flatMap((type) => ALGORITHMS[type] ?? []);
  }
}

/** "ssh-ed25519 AAAA…" */
export function hostKeyLine(key: Buffer): string {
  return `${keyType(key)} ${key.toString("base64")}`;
}

/** As `ssh-keygen -l` writes it: "SHA256:…", of a line as above. */
export function hostKeyFingerprint(line: string): string {
  const key = Buffer.from(line.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** Throws INVALID_ARGUMENT for what is no private key, or whose passphrase is another. */
export function checkPrivateKey(privateKey: string, passphrase: string | undefined): void {
  const key = ssh2.utils.parseKey(privateKey, passphrase);
  if (key instanceof Error) {
    const encrypted = /passphrase|bad decrypt|integrity|decrypt/i.test(key.message);
    const field = encrypted ? "passphrase" : "privateKey";
    throw invalidArgument(
      field,
      encrypted ? "The passphrase does not open the private key." : "This is no private key in OpenSSH or PEM form.",
    );
  }
  const first = Array.isArray(key) ? key[0] : key;
  if (!first.isPrivateKey()) throw invalidArgument("privateKey", "This is a public key; the private one is needed.");
}

/** A key in its wire form begins with the length of its type and the type. */
function keyType(key: Buffer): string {
  if (key.length < 4) return "";
  return key.subarray(4, 4 + key.readUInt32BE(0)).toString("latin1");
}
