import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkHostname, checkListLength, checkName, checkOneOf, checkStringMap, checkText } from "../../../kit/input-checks.ts";
import { HOST_KINDS, type HostCredentials, type HostKind } from "./host-types.ts";
import { type HostUri, parseHostUri } from "./host-uri.ts";

/** What a face hands over: its shape is right, its values are not checked. */
export interface RawHost {
  hostname: string;
  uri: string;
  kind?: string | null;
  credentials?: { password?: string | null; privateKey?: string | null; passphrase?: string | null } | null;
  hostKeys?: readonly string[] | null;
  region?: string | null;
  zone?: string | null;
  labels?: Record<string, string> | null;
  clientRequestId?: string | null;
}

export interface NewHost {
  hostname: string;
  uri: HostUri;
  kind: HostKind;
  credentials: HostCredentials;
  /** Empty: what the host shows at first contact is pinned. */
  hostKeys: string[];
  region: string | null;
  zone: string | null;
  labels: Record<string, string>;
  clientRequestId: string | null;
}

/** A change of how a host is reached; what is left out stays. */
export interface RawAccessChange {
  nodeId: string;
  uri?: string | null;
  credentials?: RawHost["credentials"];
  hostKeys?: readonly string[] | null;
  forgetHostKeys?: boolean | null;
  anotherHost?: boolean | null;
}

export interface AccessChange {
  uri: HostUri;
  /** Null: those from before. */
  credentials: HostCredentials | null;
  /** Empty: what the host shows at this contact is pinned. */
  hostKeys: string[];
  /** Whether it may be another machine than before. */
  anotherHost: boolean;
}

const MAX_PASSWORD = 1024;
const MAX_KEY = 16_384;
const MAX_LABEL_BYTES = 16_384;
const HOST_KEY = /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,2000}={0,2}$/;
const PRIVATE_KEY = /^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\r?\n[\s\S]+-----END [A-Z0-9 ]*PRIVATE KEY-----\s*$/;

/** Throws INVALID_ARGUMENT; no message repeats a secret. */
export function checkNewHost(raw: RawHost): NewHost {
  const uri = parseHostUri(raw.uri);
  return {
    hostname: checkHostname("hostname", raw.hostname),
    uri,
    kind: checkOneOf("kind", raw.kind ?? "COMPUTE", HOST_KINDS),
    credentials: checkCredentials(raw.credentials ?? {}, uri),
    hostKeys: checkHostKeys(raw.hostKeys ?? [], uri),
    region: checkName("region", raw.region),
    zone: checkName("zone", raw.zone),
    labels: checkStringMap("labels", raw.labels ?? {}, MAX_LABEL_BYTES),
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
  };
}

/** `host`: as it was reached before. Throws INVALID_ARGUMENT; no message repeats a secret. */
export function checkAccessChange(raw: RawAccessChange, host: { uri: string; hostKeys: string[] }): AccessChange {
  const { credentials, hostKeys } = raw;
  const forgetHostKeys = raw.forgetHostKeys ?? false;
  if (!raw.uri && !credentials && !hostKeys && !forgetHostKeys) {
    throw invalidArgument("input", "Nothing is to be changed: give uri, credentials, hostKeys or forgetHostKeys.");
  }
  if (hostKeys && forgetHostKeys) {
    throw invalidArgument("forgetHostKeys", "Either the host's keys are given, or the one that it shows is taken: not both.");
  }
  const before = parseHostUri(host.uri);
  const uri = raw.uri ? parseHostUri(raw.uri) : before;
  const isOtherWay = uri.transport !== before.transport;
  const kept = forgetHostKeys || isOtherWay ? [] : host.hostKeys;
  return {
    uri,
    credentials: credentials || isOtherWay ? checkCredentials(credentials ?? {}, uri) : null,
    hostKeys: hostKeys ? checkHostKeys(hostKeys, uri) : kept,
    anotherHost: raw.anotherHost ?? false,
  };
}

function checkCredentials(raw: NonNullable<RawHost["credentials"]>, { transport }: HostUri): HostCredentials {
  const given = (field: keyof HostCredentials, max: number) => (raw[field] ? checkText(`credentials.${field}`, raw[field], max) : null);
  const credentials = {
    password: given("password", MAX_PASSWORD),
    privateKey: given("privateKey", MAX_KEY),
    passphrase: given("passphrase", MAX_PASSWORD),
  };
  const { password, privateKey, passphrase } = credentials;
  if (transport === "unix") {
    if (password !== null || privateKey !== null) throw invalidArgument("credentials", "A socket takes no credentials.");
    return credentials;
  }
  if (password === null && privateKey === null) {
    throw invalidArgument("credentials", "SSH needs a private key (recommended) or a password.");
  }
  if (privateKey !== null && !PRIVATE_KEY.test(privateKey)) {
    throw invalidArgument(
      "credentials.privateKey",
      "A private key in OpenSSH's format or in PEM is needed, with its first and its last line.",
    );
  }
  if (passphrase !== null && privateKey === null) {
    throw invalidArgument("credentials.passphrase", "A passphrase opens a private key, and none is given.");
  }
  return credentials;
}

function checkHostKeys(keys: readonly string[], { transport }: HostUri): string[] {
  checkListLength("hostKeys", keys, 8);
  if (transport === "unix" && keys.length > 0) throw invalidArgument("hostKeys", "A socket has no host key.");
  return keys.map((key, index) => {
    // A comment behind it, as ssh-keyscan's files have, says nothing.
    const plain = key.trim().split(/\s+/).slice(0, 2).join(" ");
    if (!HOST_KEY.test(plain))
      throw invalidArgument(`hostKeys[${index}]`, 'A host key is "ssh-ed25519 AAAA…", as in known_hosts without the name.');
    return plain;
  });
}
