import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Channel } from "nice-grpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { grpcClient } from "../../platform/grpc/client.ts";
import { ComputeServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { Attached } from "../support/attached-client.ts";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { atConsole, CONSOLE_TYPES, type ConsoleType, openConsole, PROMPT } from "../support/console-instances.ts";
import { ConsoleViewer } from "../support/console-viewer.ts";
import type { FleetHost } from "../support/fleet-host.ts";
import { CAMPAIGN } from "../support/in-campaigns.ts";
import { describeWithPeers } from "../support/peers.ts";
import { until } from "../support/until.ts";

/** What `resize` of xterm does, which busybox lacks here: asks the terminal where its last corner is, and reads the answer from the line. */
const RESIZE =
  `old=$(stty -g); stty raw -echo min 64 time 5; printf '\\033[s\\033[999;999H\\033[6n\\033[u'; a=$(dd bs=64 count=1 2>/dev/null); ` +
  `stty "$old"; a=\${a#*[}; r=\${a%%;*}; c=\${a#*;}; stty rows $r cols \${c%R*}; echo "size $(stty size)"\r`;
/** How far it is counted where the whole output must arrive: the container's is 12 MB, the serial lines' are slow. */
const SERIAL_NUMBERS = CAMPAIGN ? 1_300_000 : 20_000;
const NUMBERS: Record<ConsoleType, number> = { VM: SERIAL_NUMBERS, MICROVM: SERIAL_NUMBERS, CONTAINER: 1_500_000 };
const OUTPUT_MS = CAMPAIGN ? 1_800_000 : 240_000;

const counted = (last: number) => Array.from({ length: last }, (_, index) => `${index + 1}\r\n`).join("");
/** At each prompt busybox asks the terminal where its cursor is, and cleans the line behind it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const plain = (text: string) => text.replaceAll(/\u001b\[(6n|J)/g, "");
/** Waits until the prompt is the last thing that was put out, and the question behind it is answered: a program would take that for keys. */
async function prompted(viewer: ConsoleViewer): Promise<void> {
  // It does not ask while there is something to read.
  await until(() => plain(viewer.text.slice(-50)).endsWith(PROMPT), "the prompt", 90_000);
  await viewer.settled();
}

describeWithPeers("consoles", ["network-namespaces", "libvirt", "podman"], () => {
  let fleet: ComputeFleet;
  let host: FleetHost;
  let commands = 0;
  const consoles = new Map<ConsoleType, { instanceId: string; viewer: ConsoleViewer }>();
  const at = (type: ConsoleType) => consoles.get(type) as { instanceId: string; viewer: ConsoleViewer };

  beforeAll(async () => {
    fleet = await ComputeFleet.start({ hosts: [{}], agentSettings: () => ({ shell: true }) });
    [host] = fleet.hosts as [FleetHost];
    const opened = await Promise.all(CONSOLE_TYPES.map(async (type) => [type, await atConsole(fleet, type)] as const));
    for (const [type, entry] of opened) consoles.set(type, entry);
  }, 240_000);

  afterAll(async () => {
    await Promise.all([...consoles.values()].map(({ viewer }) => viewer.close()));
    await fleet?.stop();
  });

  /** Types a command and waits until it is over, and the prompt is there again; gives what was put out behind the echo of the command. */
  async function run(viewer: ConsoleViewer, command: string): Promise<string> {
    commands += 1;
    const from = viewer.text.length;
    await viewer.type(`${command}; echo over''-${commands}\r`);
    await viewer.shows(`over-${commands}\r\n`, { from, timeoutMs: 90_000 });
    await prompted(viewer);
    const text = plain(viewer.text.slice(from));
    const echoed = `over''-${commands}\r\n`;
    const output = text.slice(text.indexOf(echoed) + echoed.length, text.lastIndexOf(`over-${commands}\r\n`));
    return output.replaceAll("\r\n", "\n").trimEnd();
  }

  test.each(CONSOLE_TYPES)("%s: a command that is typed is answered", async (type) => {
    expect(await run(at(type).viewer, "echo answer-$((6 * 7)); echo grüezi")).toBe("answer-42\ngrüezi");
  });

  test.each(CONSOLE_TYPES)(
    "%s: vi and top fill the screen, also after a resize",
    async (type) => {
      const { viewer } = at(type);
      const size = async (columns: number, rows: number) => {
        await viewer.resize(columns, rows);
        // A serial line carries no size: the guest asks the terminal, which types its answer.
        if (type === "CONTAINER") expect(await run(viewer, "stty size")).toBe(`${rows} ${columns}`);
        else expect(await run(viewer, RESIZE.trimEnd())).toContain(`size ${rows} ${columns}`);
      };
      for (const [columns, rows] of [
        [100, 30],
        [60, 16],
      ] as const) {
        await size(columns, rows);
        // It does not break lines: it shows of one what fits.
        const filled = (lines: string[]) =>
          lines[0] === "x".repeat(viewer.terminal.cols) && lines.at(-2) === "~" && lines.at(-1)?.includes("/tmp/page") === true;
        await run(viewer, "head -c 150 /dev/zero | tr '\\0' x >/tmp/page");
        await viewer.type("vi /tmp/page\r");
        await viewer.screenIs(filled, `vi on ${columns} × ${rows}`);
        if (type === "CONTAINER") {
          // It is told of a new size while it runs.
          await viewer.resize(90, 20);
          await viewer.screenIs(filled, "vi on a new size");
          await viewer.resize(columns, rows);
          await viewer.screenIs(filled, "vi on the former size");
        }
        await viewer.type(":q!\r");
        await prompted(viewer);
        await viewer.type("top -d 1\r");
        await viewer.screenIs(
          (lines) => lines[0]?.startsWith("Mem:") === true && lines.slice(0, 5).some((line) => /^ *PID +PPID/.test(line)),
          "top",
        );
        expect(viewer.screen.every((line) => line.length <= columns)).toBe(true);
        await viewer.type("q");
        await prompted(viewer);
      }
    },
    180_000,
  );

  test.each(CONSOLE_TYPES)("%s: the socket is cut, and the session goes on with what was put out meanwhile", async (type) => {
    const { viewer } = at(type);
    const witness = new ConsoleViewer({ url: fleet.url, token: fleet.token, sessionId: viewer.sessionId, sequence: null });
    await witness.connect();
    const from = viewer.text.length;
    await viewer.type("sleep 2; echo while-$((40 + 2))-away\r");
    await viewer.shows("sleep 2", { from });
    await viewer.cut();
    await witness.shows("while-42-away");
    expect(viewer.text.slice(from)).not.toContain("while-42-away");
    await viewer.connect();
    await viewer.shows("while-42-away", { from });
    await until(() => viewer.nextOffset === witness.nextOffset, "both to have the same");
    // Each byte once: the scrollback of who came later ends with what the other has, over its loss.
    const behind = viewer.text.slice(from);
    expect(witness.text.endsWith(behind)).toBe(true);
    await witness.close();
  });

  test.each(CONSOLE_TYPES)(
    "%s: much output arrives whole, while another viewer reads nothing",
    async (type) => {
      const { viewer } = at(type);
      const stopped = new ConsoleViewer({ url: fleet.url, token: fleet.token, sessionId: viewer.sessionId, sequence: null });
      await stopped.connect();
      await until(() => stopped.nextOffset === viewer.nextOffset, "the other viewer to be there");
      stopped.socket.socket.pause();
      const from = viewer.frames.length;
      await viewer.type(`seq 1 ${NUMBERS[type]}; echo coun''ted\r`);
      const behind = () => viewer.frames.slice(from);
      await until(
        () =>
          behind()
            .slice(-3)
            .map(({ data }) => data)
            .join("")
            .includes(`counted\r\n${PROMPT}`),
        "all of the output",
        OUTPUT_MS,
      );
      const seen = behind();
      expect(seen.some(({ skipped }) => skipped)).toBe(false);
      for (const [index, { offset }] of seen.entries()) if (index > 0) expect(offset).toBe(seen[index - 1]?.nextOffset);
      const text = seen.map(({ data }) => data).join("");
      const start = text.indexOf("\r\n1\r\n") + 2;
      const whole = counted(NUMBERS[type]);
      // Not compared by expect: a difference in megabytes is no message.
      expect(text.slice(start, start + whole.length) === whole).toBe(true);
      stopped.socket.socket.resume();
      // What was skipped for it, or that it was given up, is said; it comes back with its offset.
      await until(
        () => stopped.nextOffset === viewer.nextOffset || stopped.socket.socket.readyState === 3,
        "the other to have caught up",
        60_000,
      );
      if (stopped.nextOffset !== viewer.nextOffset) {
        await stopped.cut();
        await stopped.connect();
        await until(() => stopped.nextOffset === viewer.nextOffset, "the other to have come back", 60_000);
      }
      expect(stopped.text.slice(-50)).toContain(`counted\r\n${PROMPT}`);
      await stopped.close();
    },
    OUTPUT_MS + 60_000,
  );

  test("the same consoles by AttachConsole, both ways", async () => {
    const channels: Channel[] = [];
    for (const type of CONSOLE_TYPES) {
      const channel = createGrpcChannel(fleet.grpcAddress);
      channels.push(channel);
      const client = grpcClient(ComputeServiceDefinition, channel, { token: () => fleet.token });
      const attached = new Attached((inputs, signal) => client.attachConsole(inputs, { signal }));
      attached.send({ instanceId: at(type).instanceId, data: Buffer.from("echo attached-$((6 * 7))\r") });
      await attached.until("attached-42");
      // The viewers of the session see it too.
      await at(type).viewer.shows("attached-42");
      attached.leave();
      expect(await attached.ended).toMatchObject({ code: "CANCELLED" });
    }
    for (const channel of channels) channel.close();
  });

  test("an admin has a shell on the host itself, where its configuration allows that", async () => {
    const open = "mutation ($input: OpenNodeShellInput!) { openNodeShell(input: $input) { session { id kind nextSequence } } }";
    const { session } = (await fleet.query(open, { input: { nodeId: host.nodeId, columns: 100, rows: 30 } })).openNodeShell;
    const shell = new ConsoleViewer({ url: fleet.url, token: fleet.token, sessionId: session.id, sequence: session.nextSequence });
    await shell.connect();
    await shell.type("echo shell-$((6 * 7)) $(stty size)\r");
    await shell.shows("shell-42 30 100");
    await shell.type("exit\r");
    await until(() => shell.frames.at(-1)?.session?.ended === "STOPPED", "the shell to end");
    await shell.close();
    const operator = await fleet.cli("token", "--role", "operator");
    const refused = await fetch(`${fleet.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${operator}` },
      body: JSON.stringify({ query: open, variables: { input: { nodeId: host.nodeId } } }),
    });
    expect(((await refused.json()) as { errors: Array<{ extensions: object }> }).errors[0]?.extensions).toMatchObject({
      code: "FORBIDDEN",
    });
  });

  test("a session ends with its instance; who opened and closed is in the log, what was typed is not", async () => {
    const { viewer, instanceId } = at("CONTAINER");
    await run(viewer, "echo secret-$((6 * 7))-words");
    await viewer.type("exit\r");
    await until(() => viewer.frames.at(-1)?.session?.ended === "STOPPED", "the session to end");
    await fleet.untilState(instanceId, "STOPPED");
    const { errors } = await fleet.ask("mutation ($input: OpenConsoleInput!) { openConsole(input: $input) { writable } }", {
      input: { instanceId },
    });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "FAILED_PRECONDITION", reason: "InstanceNotRunning" });
    const machine = await openConsole(fleet, at("VM").instanceId, { readOnly: true });
    await fleet.query("mutation ($input: CloseConsoleInput!) { closeConsole(input: $input) { session { ended } } }", {
      input: { sessionId: machine.sessionId },
    });
    await until(() => at("VM").viewer.frames.at(-1)?.session?.ended === "CLOSED", "the session to be closed");
    for (const name of ["up", host.hostname]) {
      const log = await readFile(join(fleet.directory, `${name}.log`), "utf8");
      expect(log).toContain("a console was opened");
      expect(log).toContain("a console was closed");
      for (const hidden of ["secret-", "answer-42", "while-42"]) expect(log.includes(hidden), hidden).toBe(false);
    }
  });
});
