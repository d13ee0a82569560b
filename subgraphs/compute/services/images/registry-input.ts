import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkName, checkText } from "../../../kit/input-checks.ts";

/** What a face hands over: its shape is right, its values are not checked. */
export interface RawCredential {
  registry: string;
  username: string;
  password: string;
}

const MAX_REGISTRY = 261;
const MAX_USERNAME = 256;
/** Some registries take a whole signed document for a password. */
const MAX_PASSWORD = 16_384;
const REGISTRY = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?$/;
/** The hosts of one registry, which references call by one name. */
const DOCKER_HUB: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/** host or host:port, in lower case; every name of Docker's own registry is docker.io. */
export function checkRegistry(field: string, value: string): string {
  const registry = value.toLowerCase();
  if (registry.length > MAX_REGISTRY || !REGISTRY.test(registry)) {
    throw invalidArgument(field, "A registry is a host with or without a port, as in an image's reference: registry.example.com:5000.");
  }
  return DOCKER_HUB.has(registry) ? "docker.io" : registry;
}

export function checkCredential(raw: RawCredential): RawCredential {
  const username = checkName("username", raw.username, MAX_USERNAME);
  // HTTP's basic authentication ends the name at the first colon.
  if (username === null || username.includes(":")) throw invalidArgument("username", "A user name without a colon is needed.");
  if (raw.password === "") throw invalidArgument("password", "A password, or a token, is needed.");
  return {
    registry: checkRegistry("registry", raw.registry),
    username,
    password: checkText("password", raw.password, MAX_PASSWORD),
  };
}
