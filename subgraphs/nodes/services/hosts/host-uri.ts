import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";

/** How a host is reached: over SSH, with a shell, or over a socket of libvirt's on the machine of an agent. */
export interface HostUri {
  transport: "ssh" | "unix";
  /** As it is stored and shown: no secret in it, the default port left out. */
  text: string;
  user: string | null;
  host: string | null;
  port: number | null;
}

const FIELD = "uri";
const MAX_URI = 500;
const SSH_PORT = 22;
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;
const IPV6 = /^\[[0-9a-fA-F:.]+\]$/;
const USER = /^[a-z_][a-z0-9_.-]{0,31}$/i;
const SOCKET = /^\/[\w./+@-]{1,200}$/;

/** Throws INVALID_ARGUMENT (field uri) that says what is understood. */
export function parseHostUri(raw: string): HostUri {
  const url = raw.length <= MAX_URI ? URL.parse(raw) : null;
  if (url === null) throw notUnderstood();
  if (url.password !== "") throw invalidArgument(FIELD, "The URI is shown to everybody: give the password among the credentials.");
  if (url.hash !== "") throw notUnderstood();
  const socket = socketOf(url);
  if (url.protocol === "qemu+ssh:") return overSsh(url, socket);
  if (url.protocol === "qemu+unix:") return overSocket(url, socket);
  throw notUnderstood();
}

function overSsh(url: URL, socket: string | null): HostUri {
  const user = url.username;
  const host = url.hostname.toLowerCase();
  if (url.pathname !== "/system" || !(HOST_NAME.test(host) || IPV6.test(host))) throw notUnderstood();
  if (!USER.test(user)) throw invalidArgument(FIELD, "The URI names who signs in: qemu+ssh://user@host/system.");
  const port = url.port === "" ? SSH_PORT : Number(url.port);
  const place = port === SSH_PORT ? host : `${host}:${port}`;
  const text = `qemu+ssh://${user}@${place}/system${socket === null ? "" : `?socket=${socket}`}`;
  return { transport: "ssh", text, user, host: host.replace(/^\[(.*)\]$/, "$1"), port };
}

function overSocket(url: URL, socket: string | null): HostUri {
  if (url.host !== "" || url.username !== "" || url.pathname !== "/system" || socket === null) throw notUnderstood();
  return { transport: "unix", text: `qemu+unix:///system?socket=${socket}`, user: null, host: null, port: null };
}

/** The one parameter. libvirt's others choose programs and switch checks off. */
function socketOf(url: URL): string | null {
  const names = [...url.searchParams.keys()];
  if (names.some((name) => name !== "socket") || names.length > 1) {
    throw invalidArgument(FIELD, 'The only parameter that is understood is "socket".');
  }
  const socket = url.searchParams.get("socket");
  if (socket !== null && (!SOCKET.test(socket) || socket.includes("/../"))) {
    throw invalidArgument(FIELD, "The socket is an absolute path of letters, digits and ._+@-, up to 200 characters.");
  }
  return socket;
}

function notUnderstood(): Error {
  return invalidArgument(
    FIELD,
    "A URI is qemu+ssh://user@host[:port]/system[?socket=PATH], or qemu+unix:///system?socket=PATH for a socket on an agent's machine.",
  );
}
