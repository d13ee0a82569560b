import type { SettingKey } from "../../platform/config/settings.ts";
import { SETTINGS } from "../../platform/config/settings.ts";

/** Why a command cannot do what it is asked, in one line for the person at the terminal. */
export class StartError extends Error {
  override readonly name = "StartError";
}

export interface ListenAddress {
  host: string;
  port: number;
  /** The settings that choose them. */
  hostKey: SettingKey;
  portKey: SettingKey;
}

/** Starts what listens on an address; what the system says against the address becomes one line with the flag to change. */
export async function listening<T>(address: ListenAddress, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    const message = addressProblem(error, address);
    throw message === null ? error : new StartError(message, { cause: error });
  }
}

function addressProblem(error: unknown, { host, port, hostKey, portKey }: ListenAddress): string | null {
  const said = wholeMessage(error);
  const portFlag = `${SETTINGS[portKey].flag} (${portKey})`;
  if (said.includes("EADDRINUSE")) return `Port ${port} on ${host} is in use by another program: choose another one with ${portFlag}.`;
  if (said.includes("EACCES")) return `Port ${port} on ${host} may not be opened by this user: choose one above 1023 with ${portFlag}.`;
  if (said.includes("EADDRNOTAVAIL") || said.includes("ENOTFOUND")) {
    return `${host} is not an address of this machine: change ${SETTINGS[hostKey].flag} (${hostKey}).`;
  }
  return null;
}

/** An error's message and code with those of its causes. */
function wholeMessage(error: unknown): string {
  const parts: string[] = [];
  for (let current: unknown = error, depth = 0; current instanceof Error && depth < 8; current = current.cause, depth++) {
    parts.push(current.message, String((current as NodeJS.ErrnoException).code ?? ""));
    if (current instanceof AggregateError) parts.push(...current.errors.map(String));
  }
  return parts.join(" ");
}
