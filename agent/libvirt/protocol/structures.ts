import { hyper, int, list, type OutputOf, optional, optionalString, string, struct, uhyper, uint, uuid, withDefault } from "./codec.ts";
import { LIMITS } from "./limits.ts";
import { typedParameters } from "./typed-parameters.ts";

/** The daemon finds a domain by its `uuid`; `name` may not be empty but is not compared. `id` is −1 while the domain does not run. */
export const domain = struct({ name: string, uuid, id: withDefault(int, -1) });
export type DomainReference = OutputOf<typeof domain>;

export const network = struct({ name: string, uuid });
export type NetworkReference = OutputOf<typeof network>;

export const networkFilter = struct({ name: string, uuid });

export const storagePool = struct({ name: string, uuid });
export type StoragePoolReference = OutputOf<typeof storagePool>;

/** `pool` is the pool's name; `key` is the volume's unique key, for files its path. */
export const storageVolume = struct({ pool: string, name: string, key: string });
export type StorageVolumeReference = OutputOf<typeof storageVolume>;

export const nodeDevice = struct({ name: string });

export const snapshot = struct({ name: string, dom: domain });

/** `type`: 0 is IPv4, 1 is IPv6. */
export const domainInterface = struct({
  name: string,
  hwaddr: optionalString,
  addrs: list(struct({ type: int, addr: string, prefix: uint }), LIMITS.interfaces),
});

export const domainStats = struct({ dom: domain, params: typedParameters(LIMITS.statsParameters) });
export type DomainStats = OutputOf<typeof domainStats>;

/** `expirytime` in seconds since 1970; `type`: 0 is IPv4, 1 is IPv6. */
export const dhcpLease = struct({
  iface: string,
  expirytime: hyper,
  type: int,
  mac: optionalString,
  iaid: optionalString,
  ipaddr: string,
  prefix: uint,
  hostname: optionalString,
  clientid: optionalString,
});

export const nodeStat = struct({ field: string, value: uhyper });

export const fileSystem = struct({ mountpoint: string, name: string, fstype: string, devAliases: list(string, LIMITS.fileSystems) });

/** What a failed call or stream answers. */
export const remoteError = struct({
  code: int,
  domain: int,
  message: optionalString,
  level: int,
  dom: optional(domain),
  str1: optionalString,
  str2: optionalString,
  str3: optionalString,
  int1: int,
  int2: int,
  net: optional(network),
});
export type RemoteError = OutputOf<typeof remoteError>;
