import { z } from "zod";
import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";

/** What an operator hands to a host so that it can join once. */
export interface JoinToken {
  id: string;
  /** Shown to nobody but the control plane whose CA has the fingerprint. */
  secret: string;
  /** SHA-256 of the CA's certificate (DER), lower-case hexadecimal. */
  caFingerprint: string;
  /** host:port of the control plane for agents. */
  address: string;
}

const PREFIX = "fgj_";
const MAX_LENGTH = 4096;

const content = z.object({
  id: z.string().min(1).max(128),
  secret: z.string().min(1).max(512),
  ca: z.string().regex(/^[0-9a-f]{64}$/i),
  address: z.string().min(1).max(300),
});

/** Reads `fgj_<base64url of JSON>`. Throws INVALID_ARGUMENT (field `joinToken`) that does not repeat the token. */
export function parseJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  const refuse = (why: string) => invalidArgument("joinToken", `The join token ${why}. Make one with \`fleetgraph token --join\`.`);
  if (!trimmed.startsWith(PREFIX) || trimmed.length > MAX_LENGTH) throw refuse(`does not start with ${PREFIX}`);
  let parsed: z.infer<typeof content>;
  try {
    parsed = content.parse(JSON.parse(Buffer.from(trimmed.slice(PREFIX.length), "base64url").toString("utf8")));
    parseHostPort(parsed.address);
  } catch {
    throw refuse("is damaged or cut off");
  }
  return { id: parsed.id, secret: parsed.secret, caFingerprint: parsed.ca.toLowerCase(), address: parsed.address };
}
