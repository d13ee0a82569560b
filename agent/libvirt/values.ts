/** Numbers of libvirt's public interface that calls and answers carry. Flags of one group are combined by `|`. */

/** By the number in `domainGetState`. */
export const DOMAIN_STATES = ["NOSTATE", "RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED", "PMSUSPENDED"] as const;
export type DomainState = (typeof DOMAIN_STATES)[number];

/** Why a domain is in its state, by the state and the number in `domainGetState`. */
export const DOMAIN_STATE_REASONS = {
  NOSTATE: ["UNKNOWN"],
  RUNNING: [
    "UNKNOWN",
    "BOOTED",
    "MIGRATED",
    "RESTORED",
    "FROM_SNAPSHOT",
    "UNPAUSED",
    "MIGRATION_CANCELED",
    "SAVE_CANCELED",
    "WAKEUP",
    "CRASHED",
    "POSTCOPY",
    "POSTCOPY_FAILED",
  ],
  BLOCKED: ["UNKNOWN"],
  PAUSED: [
    "UNKNOWN",
    "USER",
    "MIGRATION",
    "SAVE",
    "DUMP",
    "IOERROR",
    "WATCHDOG",
    "FROM_SNAPSHOT",
    "SHUTTING_DOWN",
    "SNAPSHOT",
    "CRASHED",
    "STARTING_UP",
    "POSTCOPY",
    "POSTCOPY_FAILED",
  ],
  SHUTDOWN: ["UNKNOWN", "USER"],
  SHUTOFF: ["UNKNOWN", "SHUTDOWN", "DESTROYED", "CRASHED", "MIGRATED", "SAVED", "FAILED", "FROM_SNAPSHOT", "DAEMON"],
  CRASHED: ["UNKNOWN", "PANICKED"],
  PMSUSPENDED: ["UNKNOWN"],
} as const satisfies Record<DomainState, readonly string[]>;

/** What an event of `domainLifecycle` says besides, by the event and the number in `detail`. */
export const DOMAIN_EVENT_DETAILS = {
  DEFINED: ["ADDED", "UPDATED", "RENAMED", "FROM_SNAPSHOT"],
  UNDEFINED: ["REMOVED", "RENAMED"],
  STARTED: ["BOOTED", "MIGRATED", "RESTORED", "FROM_SNAPSHOT", "WAKEUP"],
  SUSPENDED: ["PAUSED", "MIGRATED", "IOERROR", "WATCHDOG", "RESTORED", "FROM_SNAPSHOT", "API_ERROR", "POSTCOPY", "POSTCOPY_FAILED"],
  RESUMED: ["UNPAUSED", "MIGRATED", "FROM_SNAPSHOT", "POSTCOPY", "POSTCOPY_FAILED"],
  STOPPED: ["SHUTDOWN", "DESTROYED", "CRASHED", "MIGRATED", "SAVED", "FAILED", "FROM_SNAPSHOT"],
  SHUTDOWN: ["FINISHED", "GUEST", "HOST"],
  PMSUSPENDED: ["MEMORY", "DISK"],
  CRASHED: ["PANICKED", "CRASHLOADED"],
  UNKNOWN: [],
} as const;

/** By the number in `storagePoolGetInfo`. */
export const STORAGE_POOL_STATES = ["INACTIVE", "BUILDING", "RUNNING", "DEGRADED", "INACCESSIBLE"] as const;

/** What a change applies to; CURRENT is the running domain, or else its definition. */
export const AFFECT = { CURRENT: 0, LIVE: 1, CONFIG: 2 };
/** For connectListAllDomains. */
export const LIST_DOMAINS = { MANAGED_SAVE: 256 };
/** For domainManagedSave: whether the guest runs at once when it is restored, or as it was. */
export const SAVE = { RUNNING: 2, PAUSED: 4 };
/** For domainGetXmlDesc; without INACTIVE, what a running domain is now. */
export const DOMAIN_XML = { SECURE: 1, INACTIVE: 2, MIGRATABLE: 8 };
export const BLOCK_RESIZE = { BYTES: 1 };
/** For domainSetMemoryFlags and domainSetVcpusFlags, besides AFFECT. */
export const MAXIMUM = 4;
/** AUTODESTROY ends the domain with the connection that started it: it is for domainCreateXml alone, which uses the client's. */
export const START = { PAUSED: 1, AUTODESTROY: 2, BYPASS_CACHE: 4, FORCE_BOOT: 8, VALIDATE: 16, RESET_NVRAM: 32 };
export const UNDEFINE = {
  MANAGED_SAVE: 1,
  SNAPSHOTS_METADATA: 2,
  NVRAM: 4,
  KEEP_NVRAM: 8,
  CHECKPOINTS_METADATA: 16,
  TPM: 32,
  KEEP_TPM: 64,
};
/** For domainShutdownFlags and domainReboot; 0 lets the hypervisor choose. */
export const SHUTDOWN = { ACPI: 1, AGENT: 2, INITCTL: 4, SIGNAL: 8, PARAVIRT: 16 };
export const METADATA = { DESCRIPTION: 0, TITLE: 1, ELEMENT: 2 };
export const DOMAIN_STATS = {
  STATE: 1,
  CPU_TOTAL: 2,
  BALLOON: 4,
  VCPU: 8,
  INTERFACE: 16,
  BLOCK: 32,
  PERF: 64,
  IOTHREAD: 128,
  MEMORY: 256,
  DIRTYRATE: 512,
  VM: 1024,
};
/** NOWAIT skips what a busy domain would have to be asked for. */
export const GET_STATS = { NOWAIT: 2 ** 29, BACKING: 2 ** 30, ENFORCE: 2 ** 31 };
export const LIST_NETWORKS = { INACTIVE: 1, ACTIVE: 2, PERSISTENT: 4, TRANSIENT: 8 };
/** By what they can do. */
export const LIST_NODE_DEVICES = { SYSTEM: 1, PCI: 2, USB_DEVICE: 4, USB_INTERFACE: 8, NET: 16, STORAGE: 256 };
export const LIST_POOLS = { INACTIVE: 1, ACTIVE: 2, PERSISTENT: 4, TRANSIENT: 8 };
/** For domainInterfaceAddresses. */
export const ADDRESS_SOURCE = { LEASE: 0, AGENT: 1, ARP: 2 };
/** For the phases of a migration, those at the destination without ABORT_ON_ERROR and AUTO_CONVERGE. */
export const MIGRATE = {
  LIVE: 1,
  PEER2PEER: 2,
  PERSIST_DEST: 8,
  UNDEFINE_SOURCE: 16,
  PAUSED: 32,
  NON_SHARED_DISK: 64,
  CHANGE_PROTECTION: 256,
  UNSAFE: 512,
  ABORT_ON_ERROR: 4096,
  AUTO_CONVERGE: 8192,
};
