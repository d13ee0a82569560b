/** What a host needs to join, as one word: `fgj_` and JSON in base64url. */
export interface JoinTokenContent {
  id: string;
  /** Known to the host and, as a hash, to the control plane. */
  secret: string;
  /** SHA-256 of the CA certificate's DER, hexadecimal: the host sends its secret to nobody else. */
  caFingerprint: string;
  /** host:port of the control plane. */
  address: string;
}

export function formatJoinToken({ id, secret, caFingerprint, address }: JoinTokenContent): string {
  return `fgj_${Buffer.from(JSON.stringify({ id, secret, ca: caFingerprint, address })).toString("base64url")}`;
}
