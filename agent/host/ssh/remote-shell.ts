/** What another machine's sh is told, and in one case this machine's. Everything here is plain POSIX shell, and one word after the account's own shell has read it. */

/** Programs for administrators are in folders that other accounts do not search. */
export const REMOTE_PATH = 'PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; export PATH';

/** The exit code and the words of a wrapper whose program is not there; the exit code is the shell's own for it. */
export const NOT_INSTALLED = { exitCode: 127, said: "fleetgraph: not installed" };

const REQUIRED = `command -v "$1" >/dev/null 2>&1 || { echo ${quotedWord(NOT_INSTALLED.said)} >&2; exit ${NOT_INSTALLED.exitCode}; }`;
const LANGUAGE = "LC_ALL=C.UTF-8; export LC_ALL";

/**
 * Runs "$@" without input. The session's own input says how long it may run: at its end, which also a lost connection is, the program is
 * killed. sshd would leave it, and count it among the sessions that the connection may have. Its input and output are one socket: whatever
 * holds the one open keeps the session from ending.
 */
const WATCHED = [
  ...[REMOTE_PATH, LANGUAGE, REQUIRED],
  "exec 3<&0",
  '"$@" </dev/null 3<&- & p=$!',
  "{ while read -r x; do :; done <&3; exec 3<&-; kill -TERM $p; sleep 1; kill -KILL $p; } >/dev/null 2>&1 & w=$!",
  "exec 3<&-",
  "wait $p; c=$?; kill $w 2>/dev/null; exit $c",
].join("\n");

/** Runs "$@" with the session's input as its own. */
const FED = [REMOTE_PATH, LANGUAGE, REQUIRED, 'exec "$@"'].join("\n");

const SOCKET = [
  REMOTE_PATH,
  'if [ ! -e "$1" ]; then echo "No such file or directory" >&2; exit 1; fi',
  'if [ ! -r "$1" ] || [ ! -w "$1" ]; then echo "Permission denied" >&2; exit 1; fi',
  `if command -v nc >/dev/null 2>&1; then echo; exec nc -U "$1"; fi`,
  `if command -v socat >/dev/null 2>&1; then echo; exec socat - "UNIX-CONNECT:$1"; fi`,
  `echo ${quotedWord(NOT_INSTALLED.said)} >&2; exit ${NOT_INSTALLED.exitCode}`,
].join("\n");

/** Prints one line: SHELL_MARK, the account's number, the machine as `uname -m` writes it. */
export const SHELL_MARK = "fleetgraph-shell";
export const SHELL_PROBE = script(`echo "${SHELL_MARK} $(id -u) $(uname -m)"`);

/** A program that is killed when the session's input ends. */
export function watchedLine(program: string, args: readonly string[]): string {
  return script(WATCHED, program, ...args);
}

/** The same on this machine: what sh is started with. Its input ends with the process that holds it, also with one that was killed. */
export function watchedArgs(program: string, args: readonly string[]): string[] {
  return ["-c", WATCHED, "sh", program, ...args];
}

/** A program that reads the session's input. */
export function fedLine(program: string, args: readonly string[]): string {
  return script(FED, program, ...args);
}

/** A connection to a UNIX socket by what the host has for it: an empty line, and then the socket's bytes. */
export function socketLine(socketPath: string): string {
  return script(SOCKET, socketPath);
}

/** In single quotes, as one word for a shell. */
export function quotedWord(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function script(text: string, ...args: string[]): string {
  return ["exec", "sh", "-c", quotedWord(text), "sh", ...args.map(quotedWord)].join(" ");
}
