import { type HostCommand, HostReadError, type UnreadableReason } from "../host-channel.ts";
import { reasonSaid } from "../read-error.ts";

/** What was read of a path; several of them of a link to a folder or to a file. */
export interface CapturedEntry {
  /** What a symbolic link points to, as it is written there. */
  link?: string;
  /** The names in a folder. */
  names?: string[];
  content?: string;
  /** Why it could not be read; NOT_PRESENT for what is not there. */
  problem?: UnreadableReason;
}

export interface CapturedCommand {
  command: Required<HostCommand>;
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** What was fetched of a host at once. */
export interface Capture {
  /** As `uname -m` writes it. */
  architecture: string;
  /** The patterns that were asked for: what matches one and is not here is not there. */
  paths: string[];
  entries: Map<string, CapturedEntry>;
  /** By `commandKey`. */
  commands: Map<string, CapturedCommand>;
}

export const CAPTURE_FIRST_LINE = "fleetgraph-capture 1";

export function commandKey({ program, args }: HostCommand): string {
  return JSON.stringify([program, ...args]);
}

/**
 * Reads the text of a capture: the first line, with a boundary that nothing else in it contains, and sections, each after a line of the
 * boundary and its name. What stands before it is ignored: accounts greet with all kinds of things. Throws UNREADABLE for what is cut off;
 * `stderr` is what the script said beside it.
 */
export function parseCapture(text: string, stderr = ""): Capture {
  const first = new RegExp(`^${CAPTURE_FIRST_LINE} (\\w+)$`, "m").exec(text);
  if (first === null) throw new HostReadError("UNREADABLE", "capture", `This is no capture of a host. ${stderr.trim().slice(-300)}`.trim());
  const sections = text
    .slice(first.index + first[0].length)
    .split(`\n--${first[1]} `)
    .slice(1);
  if (sections.at(-1)?.trim() !== "end") {
    throw new HostReadError("UNREADABLE", "capture", `The capture of the host is cut off. ${stderr.trim().slice(-300)}`.trim());
  }
  const capture: Capture = { architecture: "", paths: [], entries: new Map(), commands: new Map() };
  let command: CapturedCommand | null = null;
  for (const section of sections) {
    const { title, body } = divided(section);
    if (title === "host") capture.architecture = body.trim();
    else if (title === "needs") capture.paths = linesOf(body);
    else if (title === "tree") readTree(capture, body);
    else if (title === "links") readLinks(capture, body);
    else if (title === "files") readFiles(capture, body);
    else if (title === "problems") readProblems(capture, body);
    else if (title.startsWith("command ")) command = { command: JSON.parse(title.slice(8)), exitCode: 0, stdout: body, stderr: "" };
    else if (title.startsWith("exit ") && command !== null) {
      const done = { ...command, exitCode: Number(title.slice(5)), stderr: body };
      capture.commands.set(commandKey(done.command), done);
    }
  }
  return capture;
}

/** The same capture as text, with a boundary that it does not contain; `parseCapture` reads it. */
export function writeCapture(capture: Capture, boundary: string): string {
  const all = [...capture.entries].sort(([one], [other]) => (one < other ? -1 : 1));
  const tree = all.flatMap(([path, { link, names, content, problem }]) => [
    ...(link === undefined ? [] : [`l ${path}`]),
    ...(names === undefined ? [] : [`${problem === undefined ? "d" : "u"} ${path}`, ...names.map((name) => ` ${name}`)]),
    ...(content !== undefined || (problem !== undefined && names === undefined) ? [`f ${path}`] : []),
    ...((link ?? names ?? content ?? problem) === undefined ? [`o ${path}`] : []),
  ]);
  const links = all.flatMap(([path, { link }]) => (link === undefined ? [] : [`l ${path} -> ${link}`]));
  const files = all.flatMap(([path, { content }]) => linesOf(content ?? "").map((line) => `${path}:${line}`));
  const problems = all.flatMap(([path, { problem }]) => (problem === undefined ? [] : [`grep: ${path}: ${problem}`]));
  const sections = [
    ["host", capture.architecture],
    ["needs", ...capture.paths],
    ["tree", ...tree],
    ["links", ...links],
    ["files", ...files],
    ["problems", ...problems],
  ].map(([title, ...lines]) => `${title}\n${lines.map((line) => `${line}\n`).join("")}`);
  for (const { command, exitCode, stdout, stderr } of capture.commands.values()) {
    sections.push(`command ${JSON.stringify(command)}\n${stdout}`, `exit ${exitCode}\n${stderr}`);
  }
  return [`${CAPTURE_FIRST_LINE} ${boundary}`, ...sections, "end\n"].join(`\n--${boundary} `);
}

function divided(section: string): { title: string; body: string } {
  const end = section.indexOf("\n");
  return end < 0 ? { title: section, body: "" } : { title: section.slice(0, end), body: section.slice(end + 1) };
}

function linesOf(body: string): string[] {
  const lines = body.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function entryOf({ entries }: Capture, path: string): CapturedEntry {
  const entry = entries.get(path) ?? {};
  entries.set(path, entry);
  return entry;
}

/** A letter and a path: a link, a folder (`u`: one that may not be read) with its names below it, a file, something else, nothing. */
function readTree(capture: Capture, body: string): void {
  let names: string[] = [];
  for (const line of linesOf(body)) {
    const path = line.slice(2);
    if (line.startsWith(" ")) names.push(line.slice(1));
    else if (/^[du] /.test(line)) {
      names = [];
      Object.assign(entryOf(capture, path), { names }, line.startsWith("u") ? { problem: "NO_PERMISSION" } : {});
    } else if (line.startsWith("f ")) entryOf(capture, path).content = "";
    else if (line.startsWith("n ")) entryOf(capture, path).problem = "NOT_PRESENT";
    else if (/^[lo] /.test(line)) entryOf(capture, path);
  }
}

/** As `ls -l` writes them: "lrwxrwxrwx 1 0 0 0 Nov 21 18:00 /sys/… -> ../…". */
function readLinks(capture: Capture, body: string): void {
  for (const line of linesOf(body)) {
    const [, path, target] = /^l[^/]* (\/.*?) -> (.*)$/.exec(line) ?? [];
    if (path !== undefined && target !== undefined) entryOf(capture, path).link = target;
  }
}

/** Every line after its file's path and a colon; files in the order of the tree. Paths hold colons, too. */
function readFiles(capture: Capture, body: string): void {
  const paths = [...capture.entries].flatMap(([path, { content }]) => (content === undefined ? [] : [path]));
  const contents: string[][] = paths.map(() => []);
  let current = 0;
  for (const line of linesOf(body)) {
    let index = current;
    while (index < paths.length && !line.startsWith(`${paths[index]}:`)) index += 1;
    const path = paths[index];
    if (path === undefined) throw new HostReadError("MALFORMED", "capture", `The capture holds a line of no file: ${line.slice(0, 200)}`);
    current = index;
    contents[index]?.push(line.slice(path.length + 1));
  }
  for (const [index, path] of paths.entries()) {
    entryOf(capture, path).content = contents[index]?.map((line) => `${line}\n`).join("") ?? "";
  }
}

/** "grep: PATH: what the C library says"; in a capture that was kept, the reason itself. */
function readProblems(capture: Capture, body: string): void {
  for (const line of linesOf(body)) {
    const [, path, said] = /^grep: (.*): ([^:]+)$/.exec(line) ?? [];
    if (path === undefined || said === undefined) continue;
    const entry = capture.entries.get(path);
    if (entry === undefined || entry.names !== undefined) continue;
    entry.problem = /^[A-Z_]+$/.test(said) ? (said as UnreadableReason) : reasonSaid(said);
    delete entry.content;
  }
}
