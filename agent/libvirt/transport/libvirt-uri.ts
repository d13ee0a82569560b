import { invalidArgument } from "../../../platform/errors/fleet-error.ts";

/** Where a libvirt URI leads. */
export interface LibvirtTarget {
  /** What the daemon is asked to open: the URI without the way to the daemon. */
  readonly openName: string;
  readonly way: UnixWay | SshWay;
}

/** The first of the sockets that is there. */
export interface UnixWay {
  readonly kind: "unix";
  readonly socketPaths: readonly string[];
}

/** A host that is reached over SSH; the sockets are there. */
export interface SshWay {
  readonly kind: "ssh";
  readonly host: string;
  readonly port: number | null;
  readonly user: string | null;
  readonly socketPaths: readonly string[];
}

export interface TargetOptions {
  socketPath?: string;
  sessionDirectory?: string;
}

const SYSTEM_DIRECTORY = "/run/libvirt";
/** One daemon for everything, or the QEMU driver's own. */
const SOCKETS = ["libvirt-sock", "virtqemud-sock"];
const PARAMETERS: readonly string[] = ["socket"];

/** Throws INVALID_ARGUMENT, with what is understood, for a URI that is not. */
export function parseLibvirtUri(uri: string, options: TargetOptions = {}): LibvirtTarget {
  const url = URL.parse(uri);
  const [, driver, transport] = /^([a-z]+)(?:\+([a-z0-9]+))?:$/.exec(url?.protocol ?? "") ?? [];
  if (url === null || driver === undefined || !/^[a-z]+(\+[a-z0-9]+)?:\/\//.test(uri) || url.pathname === "") throw notUnderstood(uri);
  const openName = `${driver}://${url.pathname}`;
  if (url.password !== "") throw invalidArgument("uri", "A libvirt URI holds no password: it is given apart from it.");

  if (transport === "ssh") return { openName, way: sshWay(uri, url, options) };
  if (transport !== undefined && transport !== "unix") {
    throw invalidArgument("uri", `libvirt is reached over its UNIX socket or over ssh, not over ${transport}.`);
  }
  if (url.host !== "") {
    throw invalidArgument("uri", `${JSON.stringify(uri)} names a host: reach it over ssh, as ${driver}+ssh://host${url.pathname}.`);
  }
  return { openName, way: { kind: "unix", socketPaths: socketPaths(uri, url, options) } };
}

function sshWay(uri: string, url: URL, options: TargetOptions): SshWay {
  const host = decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1");
  if (host === "" || host.startsWith("-")) throw notUnderstood(uri);
  return {
    kind: "ssh",
    host,
    port: url.port === "" ? null : Number(url.port),
    user: url.username === "" ? null : decodeURIComponent(url.username),
    socketPaths: socketPaths(uri, url, options),
  };
}

function socketPaths(uri: string, url: URL, { socketPath, sessionDirectory }: TargetOptions): string[] {
  const named = socketPath ?? socketParameter(url);
  if (named !== null) return [named];
  const directory = url.pathname === "/session" ? sessionDirectory : SYSTEM_DIRECTORY;
  if (directory === undefined) {
    throw invalidArgument("uri", `${JSON.stringify(uri)} needs to know where the user's own daemon has its socket: add ?socket=PATH.`);
  }
  return SOCKETS.map((name) => `${directory}/${name}`);
}

function socketParameter(url: URL): string | null {
  for (const [name, value] of url.searchParams) {
    if (!PARAMETERS.includes(name)) {
      throw invalidArgument(
        "uri",
        `The parameter ${JSON.stringify(name)} of a libvirt URI is not known; there is ${PARAMETERS.join(", ")}.`,
      );
    }
    if (!value.startsWith("/")) throw invalidArgument("uri", `The parameter ${JSON.stringify(name)} of a libvirt URI is an absolute path.`);
  }
  return url.searchParams.get("socket");
}

function notUnderstood(uri: string) {
  return invalidArgument(
    "uri",
    `${JSON.stringify(uri)} is no libvirt URI that is understood: qemu:///system, qemu:///session, qemu+unix:///system?socket=PATH, ` +
      "qemu+ssh://user@host/system, test:///default, test:///file.xml.",
  );
}
