import type { NetworkSpec } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { invalid, precondition } from "../shared/refusals.ts";
import type { ContainerEngine } from "./engine.ts";
import { attempt } from "./engine-errors.ts";
import type { ListedNetwork } from "./engine-types.ts";

/** Docker calls its default network so, and podman's Docker API calls podman's so. */
const DEFAULT_NETWORK = "bridge";
/** Of Docker's built-in networks without an address of their own. */
const HOST_DRIVERS: ReadonlySet<string> = new Set(["host", "null"]);
/** Not everything that an engine takes as a network mode is a network: container:…, ns:…, slirp4netns:… reach into others. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const SHOWN_NAMES = 20;

/**
 * The engine's network mode for a network spec: none, its default network, or one by name. INVALID_ARGUMENT, or FAILED_PRECONDITION
 * (NetworkNotFound, SubnetNotFound) that says what is there.
 */
export async function networkMode(engine: ContainerEngine, spec: NetworkSpec | undefined, signal: AbortSignal): Promise<string> {
  const { networkId = "", subnetId = "" } = spec ?? {};
  const field = "spec.network.networkId";
  if (networkId === "none") {
    if (subnetId === "") return "none";
    throw invalid("SubnetInvalid", "spec.network.subnetId", 'The network "none" has no subnets.');
  }
  if (networkId === "host") {
    throw invalid(
      "NetworkUnsupported",
      field,
      "A container does not get its host's own network: name one of the engine's, or leave it out.",
    );
  }
  const isDefault = networkId === "" || networkId === "default";
  if (isDefault && subnetId === "") return "default";
  const name = isDefault ? DEFAULT_NETWORK : networkId;
  if (!NAME.test(name)) throw invalid("NetworkInvalid", field, `${JSON.stringify(name.slice(0, 100))} cannot be a network's name.`);
  const listed = await attempt("list its networks", () => engine.get<ListedNetwork[]>("/networks", { signal }));
  const networks = listed.filter(({ Driver }) => !HOST_DRIVERS.has(Driver));
  const network = networks.find(({ Name }) => Name === name);
  if (network === undefined) {
    const names = networks.map(({ Name }) => Name).slice(0, SHOWN_NAMES);
    const message = `The container engine has no network ${JSON.stringify(name)}. It has: ${names.join(", ") || "none"}.`;
    throw precondition("NetworkNotFound", message, { field, networks: names });
  }
  if (subnetId !== "") checkSubnet(network, subnetId);
  return isDefault ? "default" : network.Name;
}

function checkSubnet({ Name, IPAM }: ListedNetwork, subnetId: string): void {
  const subnets = (IPAM?.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []);
  if (subnets.includes(subnetId)) return;
  const message = `The network ${Name} has no subnet ${subnetId.slice(0, 100)}. It has: ${subnets.join(", ") || "none"}.`;
  throw precondition("SubnetNotFound", message, { field: "spec.network.subnetId", subnets });
}
