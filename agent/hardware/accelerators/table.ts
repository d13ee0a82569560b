const MAX_LINES = 10_000;

/** The rows of a table that is drawn with characters, as their cells; rules ("+----+") are left out. */
export function tableRows(text: string): string[][] {
  return text
    .split("\n", MAX_LINES)
    .map((line) => line.trim())
    .filter((line) => line.startsWith("|") && line.endsWith("|") && !/^[|=+\-\s]*$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}
