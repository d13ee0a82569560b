import { randomBytes } from "node:crypto";
import type { HostNeeds } from "../host-channel.ts";
import { NOT_INSTALLED, quotedWord, REMOTE_PATH } from "../ssh/remote-shell.ts";
import { CAPTURE_FIRST_LINE } from "./format.ts";
import { searchedFolders, shellPattern } from "./globs.ts";

const COMMAND_SECONDS = 15;

/**
 * Reads all of it in one go, with a handful of processes however many files there are: `grep` prints every line of every file with the file's
 * path before it, and says of each that it cannot read why not. Plain POSIX sh; needs grep, ls, awk, xargs.
 */
const FUNCTIONS = `
LC_ALL=C; export LC_ALL
${REMOTE_PATH}
section() { printf '\\n%s %s\\n' "$B" "$*"; }
tree() {
  for p; do
    if [ -h "$p" ]; then printf 'l %s\\n' "$p"; fi
    if [ -d "$p" ]; then
      if [ -r "$p" ] && [ -x "$p" ]; then printf 'd %s\\n' "$p"; else printf 'u %s\\n' "$p"; fi
      for e in "$p"/* "$p"/.[!.]*; do
        case $e in "$p/*" | "$p/.[!.]*") [ -e "$e" ] || [ -h "$e" ] || continue ;; esac
        printf ' %s\\n' "\${e##*/}"
      done
    elif [ -f "$p" ]; then printf 'f %s\\n' "$p"
    elif [ -e "$p" ]; then printf 'o %s\\n' "$p"
    else case $p in *[*?[]*) ;; *) printf 'n %s\\n' "$p" ;; esac
    fi
  done
}
each() { printf '%s\\n' "$T" | awk -v kinds="$1" 'index(kinds, substr($0, 1, 2)) && !seen[$0]++ { printf "%s%c", substr($0, 3), 0 }'; }
if command -v timeout >/dev/null 2>&1; then limit="timeout ${COMMAND_SECONDS}"; else limit=; fi
run() {
  command -v "$1" >/dev/null 2>&1 || { echo ${quotedWord(NOT_INSTALLED.said)} >&2; return ${NOT_INSTALLED.exitCode}; }
  LC_ALL=C.UTF-8 $limit "$@"
}
root() {
  if [ "$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n --"; fi
  command -v "$1" >/dev/null 2>&1 || { echo ${quotedWord(NOT_INSTALLED.said)} >&2; return ${NOT_INSTALLED.exitCode}; }
  LC_ALL=C.UTF-8 $limit $sudo "$@"
}
`;

/** A script for sh that writes a capture (format.ts) of what is named. */
export function captureScript(needs: HostNeeds): string {
  const patterns = [...new Set([...needs.paths.flatMap(searchedFolders), ...needs.paths])];
  const parts = [
    FUNCTIONS,
    `printf '%s\\n' ${quotedWord(`${CAPTURE_FIRST_LINE} BOUNDARY`)}`,
    'section host; printf "%s\\n" "$(uname -m)"',
    `section needs; printf '%s\\n' ${[...needs.paths].map(quotedWord).join(" ")}`,
    `T=$(tree ${patterns.map(shellPattern).join(" ")})`,
    `section tree; printf '%s\\n' "$T"`,
    "section links; each 'l ' | xargs -0 -r ls -ldn -- 2>/dev/null",
    "section files; E=$( { each 'f n ' | xargs -0 -r grep -aH '' /dev/null; } 2>&1 >&4 )",
    `section problems; printf '%s\\n' "$E"`,
  ];
  for (const { program, args, privileged = false } of needs.commands) {
    const line = [privileged ? "root" : "run", quotedWord(program), ...args.map(quotedWord)].join(" ");
    parts.push(
      `section ${quotedWord(`command ${JSON.stringify({ program, args, privileged })}`)}`,
      `E=$( { ${line}; } 2>&1 >&4 ); section "exit $?"; printf '%s' "$E" | tail -c 4096`,
    );
  }
  parts.push("section end");
  const boundary = randomBytes(16).toString("hex");
  const body = parts.join("\n").replace(" BOUNDARY'", ` ${boundary}'`);
  // In braces, for it to be read whole before its programs are given another standard input.
  return `{\nB='--${boundary}'\n${body}\n} 4>&1 </dev/null\n`;
}
