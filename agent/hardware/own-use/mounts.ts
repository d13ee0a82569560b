/** A file system that is mounted. */
export interface Mount {
  /** Of its block device, "259:1"; of none where the first number is 0. */
  number: string;
  target: string;
  /** The folder of the file system that is seen there: "/", another one of a bind mount or a subvolume. */
  root: string;
  type: string;
  /** "/dev/sda1", or a name of another kind. */
  source: string;
}

/** The lines of /proc/self/mountinfo. */
export function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split("\n")) {
    // Optional fields end with a dash.
    const match = /^\d+ \d+ (\d+:\d+) (\S+) (\S+) \S+ (?:\S+ )*?- (\S+) (\S+) /.exec(line);
    if (match === null) continue;
    const [, number = "", root = "", target = "", type = "", source = ""] = match;
    mounts.push({ number, root: unescaped(root), target: unescaped(target), type, source: unescaped(source) });
  }
  return mounts;
}

/** The devices and files in /proc/swaps. */
export function parseSwaps(text: string): string[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => (line.trim() === "" ? [] : [unescaped(line.split(/\s/)[0] ?? "")]));
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
