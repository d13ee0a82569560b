/** What libvirt's own protocol allows; whatever is longer is refused before memory is taken for it. */
export const LIMITS = {
  /** The length word counts itself; then the header, then the payload. */
  frameBytes: 33_554_432 + 4,
  /** The length word and the header. */
  frameHeaderBytes: 28,
  stringBytes: 4_194_304,
  /** Domains, networks, pools, volumes, filters, snapshots. */
  list: 16_384,
  nodeDevices: 65_536,
  dhcpLeases: 65_536,
  migrationCookieBytes: 4_194_304,
  cpuMapBytes: 2048,
  /** Of one record of `connectGetAllDomainStats`. */
  statsParameters: 262_144,
  interfaces: 2048,
  /** Statistics of a job, parameters of a migration. */
  jobParameters: 64,
  guestParameters: 2048,
  tuningParameters: 16,
  blockTuningParameters: 32,
  authTypes: 20,
  fileSystems: 256,
  memoryStats: 1024,
  nodeStats: 16,
  numaCells: 1024,
  messages: 2048,
  keycodes: 16,
  secretBytes: 65_536,
} as const;
