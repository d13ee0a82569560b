import { stringify } from "yaml";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { CloudInit } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { isoImage } from "./iso9660.ts";

const MAX_USER_DATA_BYTES = 65_536;
const MAX_KEYS = 100;
const MAX_KEY_BYTES = 16_384;

/** What cloud-init knows user data by; whatever begins otherwise it leaves aside with no more than a line in the guest's log. */
const USER_DATA_BEGINNINGS = [
  "#cloud-config",
  "#!",
  "#cloud-boothook",
  "#include",
  "#part-handler",
  "## template: jinja",
  "Content-Type: multipart/",
  "MIME-Version:",
];

const PUBLIC_KEY =
  /^(ssh-(rsa|ed25519|dss)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,3}( [^\r\n]*)?$/;

/**
 * The NoCloud seed of an instance: a disk labelled cidata with user-data and meta-data. The same instance gives the same bytes.
 *
 * Keys go into meta-data, where every image looks for those of its default user, whatever the user data is. cloud-init adds what a
 * #cloud-config lists under ssh_authorized_keys to them, so that neither replaces the other and user data needs no change.
 */
export function cloudInitSeed(instanceId: string, name: string, { userData, sshAuthorizedKeys }: CloudInit): Buffer {
  checkUserData(userData);
  checkKeys(sshAuthorizedKeys);
  const metaData = {
    "instance-id": instanceId,
    "local-hostname": hostName(name, instanceId),
    ...(sshAuthorizedKeys.length > 0 && { "public-keys": sshAuthorizedKeys.map((key) => key.trim()) }),
  };
  return isoImage("cidata", [
    { name: "meta-data", content: Buffer.from(stringify(metaData, { lineWidth: 0 })) },
    // Both files must be there for a disk to count as a seed.
    { name: "user-data", content: Buffer.from(userData === "" ? "#cloud-config\n{}\n" : userData) },
  ]);
}

function checkUserData(userData: string): void {
  const bytes = Buffer.byteLength(userData);
  if (bytes > MAX_USER_DATA_BYTES) {
    throw invalid("user_data", `User data has ${bytes} bytes; ${MAX_USER_DATA_BYTES} are allowed. Let it fetch the rest (#include).`);
  }
  if (userData !== "" && !USER_DATA_BEGINNINGS.some((beginning) => userData.startsWith(beginning))) {
    throw invalid("user_data", `User data must begin with one of ${USER_DATA_BEGINNINGS.join(", ")}: cloud-init knows it by that.`);
  }
}

function checkKeys(keys: readonly string[]): void {
  if (keys.length > MAX_KEYS) throw invalid("ssh_authorized_keys", `${keys.length} SSH keys were given; ${MAX_KEYS} are allowed.`);
  for (const [index, key] of keys.entries()) {
    if (key.length <= MAX_KEY_BYTES && PUBLIC_KEY.test(key.trim())) continue;
    // The key itself is not repeated: it may be a private one, pasted by mistake.
    throw invalid("ssh_authorized_keys", `SSH key ${index + 1} is no OpenSSH public key in one line ("ssh-ed25519 AAAA… comment").`);
  }
}

/** What of a name can be a host name (RFC 1123): web 1.example → web-1.example. */
function hostName(name: string, instanceId: string): string {
  const labels = name
    .toLowerCase()
    .split(".")
    .map((label) =>
      label
        .replaceAll(/[^a-z0-9-]+/g, "-")
        .slice(0, 63)
        .replaceAll(/^-+|-+$/g, ""),
    )
    .filter((label) => label !== "");
  const host = labels.join(".");
  return host === "" || host.length > 253 || /^[0-9.]+$/.test(host) ? instanceId : host;
}

function invalid(field: string, message: string): FleetError {
  return new FleetError("INVALID_ARGUMENT", message, { reason: "CloudInitInvalid", details: { field: `spec.cloud_init.${field}` } });
}
