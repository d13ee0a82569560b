import type { ComputeFleet } from "./compute-fleet.ts";
import { ConsoleViewer } from "./console-viewer.ts";
import { GUEST_COMMAND_LINE } from "./tiny-guest.ts";
import { until } from "./until.ts";

export const CONSOLE_TYPES = ["VM", "MICROVM", "CONTAINER"] as const;
export type ConsoleType = (typeof CONSOLE_TYPES)[number];

export const PROMPT = "guest# ";

const MIB = 2 ** 20;
const GUEST = { image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE, memoryBytes: 128 * MIB };
const SPECS: Record<ConsoleType, object> = {
  VM: { ...GUEST, disks: [{ name: "root", sizeBytes: 80 * MIB, type: "ssd", boot: true }] },
  MICROVM: GUEST,
  CONTAINER: {
    image: "localhost/busybox:latest",
    memoryBytes: 64 * MIB,
    command: ["/bin/sh"],
    env: [{ key: "PS1", value: PROMPT }],
  },
};

const OPEN = `mutation ($input: OpenConsoleInput!) { openConsole(input: $input) {
  writable session { id kind columns rows resizable takesInput nextSequence } } }`;

/** A running instance with a root shell on its console, and somebody at it who has seen the prompt. */
export async function atConsole(fleet: ComputeFleet, type: ConsoleType): Promise<{ instanceId: string; viewer: ConsoleViewer }> {
  const spec = { ...SPECS[type], cpuCores: 1, network: { networkId: "none" } };
  const { id } = await fleet.change("createInstance", { name: `console-of-${type.toLowerCase()}`, type, spec });
  await fleet.untilState(id, "RUNNING", 90_000);
  const viewer = await openConsole(fleet, id);
  await viewer.connect();
  // Before something listens, what is typed is lost.
  if (type !== "CONTAINER") await untilPrompt(viewer);
  else await viewer.type("\r");
  await viewer.shows(PROMPT);
  return { instanceId: id, viewer };
}

export async function openConsole(fleet: ComputeFleet, instanceId: string, input: object = {}): Promise<ConsoleViewer> {
  const { openConsole: opened } = await fleet.query(OPEN, { input: { instanceId, ...input } });
  const sequence = opened.writable ? opened.session.nextSequence : null;
  return new ConsoleViewer({ url: fleet.url, token: fleet.token, sessionId: opened.session.id, sequence });
}

/** A guest says when it is up; one that was up before the console was opened answers to a return. */
export async function untilPrompt(viewer: ConsoleViewer): Promise<void> {
  let typed = performance.now();
  await until(
    async () => {
      if (performance.now() - typed > 2_000) {
        typed = performance.now();
        await viewer.type("\r");
      }
      return viewer.text.includes(PROMPT);
    },
    "the guest's prompt",
    90_000,
  );
}
