/** Paths as HostNeeds name them: absolute, with the shell's `*`, `?` and `[…]`. */

/** The same file by a pattern that no shell reads anything into. */
export function literalPath(path: string): string {
  return path.replace(/[*?[]/g, "[$&]");
}

export function hasWildcards(pattern: string): boolean {
  return /[*?[]/.test(pattern);
}

/** As a word of a shell script: everything but the wildcards is quoted. Throws for what is not absolute, or would take several lines. */
export function shellPattern(pattern: string): string {
  if (!/^\/[^\n\0]*$/.test(pattern)) throw new Error(`${JSON.stringify(pattern)} is no absolute path.`);
  return pattern.replace(/\[[^\]/]*\]|[*?]|[^*?[]+|\[/g, (part) =>
    /^([*?]|\[.+\])$/.test(part) ? part : `'${part.replaceAll("'", `'\\''`)}'`,
  );
}

/** The folders in which a pattern's wildcards are looked up, as patterns: all of their names are known then. */
export function searchedFolders(pattern: string): string[] {
  const parts = pattern.split("/");
  return parts.flatMap((part, index) => (hasWildcards(part) ? [parts.slice(0, index).join("/") || "/"] : []));
}

/** Tells whether a path was asked for: it matches one of the patterns, or is a folder on the way to one. */
export function askedFor(patterns: readonly string[]): (path: string) => boolean {
  const wholes = new Set<string>();
  for (const pattern of patterns) {
    const parts = pattern.split("/");
    for (let length = 1; length <= parts.length; length += 1) wholes.add(parts.slice(0, length).join("/") || "/");
  }
  const exact = new Set([...wholes].filter((pattern) => !hasWildcards(pattern)));
  const matchers = [...wholes].filter(hasWildcards).map(matcher);
  return (path) => exact.has(path) || matchers.some((expression) => expression.test(path));
}

function matcher(pattern: string): RegExp {
  const source = pattern.replace(/\[[^\]/]*\]|[^[]|\[/g, (part) => {
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    if (/^\[.+\]$/.test(part)) return `[${part.slice(1, -1).replace(/^!/, "^").replace(/[\\[]/g, "\\$&")}]`;
    return part.replace(/[.+^${}()|\\\][]/g, "\\$&");
  });
  return new RegExp(`^${source}$`);
}
