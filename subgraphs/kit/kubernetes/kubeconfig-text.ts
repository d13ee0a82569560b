import { isMap, isScalar, LineCounter, parseDocument, visit } from "yaml";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { kubeconfigError, malformed } from "./kubeconfig-errors.ts";

export const MAX_KUBECONFIG_BYTES = 1024 ** 2;
/** Base64 takes 4/3 of it, and line breaks. */
const MAX_RAW_LENGTH = Math.ceil(MAX_KUBECONFIG_BYTES * 1.4);
const MAX_MARKS = 50_000;
const MARKUP = /[\n\r[\]{},:&*!?#%"'-]/g;
const SHORTER = "`kubectl config view --minify --flatten --raw` prints the part of it that one context needs.";
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * A kubeconfig's text as plain values: mappings, lists, and every scalar as the text that it is (a token of digits stays as written).
 * Plain YAML, JSON, or either in base64. Cheap to refuse: too long is known before anything is decoded, aliases are no part of it.
 */
export function readKubeconfigText(raw: string): unknown {
  if (raw.length > MAX_RAW_LENGTH) throw tooLarge();
  return readYaml(decode(raw));
}

function decode(raw: string): string {
  let bytes: Buffer = Buffer.from(raw, "utf8");
  // A mapping needs a colon, base64 has none.
  if (!raw.includes(":")) {
    const packed = raw.replace(/\s+/g, "");
    if (packed === "") throw kubeconfigError("KubeconfigIncomplete", null, "The kubeconfig is empty.");
    if (!BASE64.test(packed)) throw malformed(null, "The kubeconfig is neither YAML nor base64.");
    bytes = Buffer.from(packed, "base64");
  }
  if (bytes.length > MAX_KUBECONFIG_BYTES) throw tooLarge();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw malformed(null, "The kubeconfig is not UTF-8 text.", cause);
  }
}

function readYaml(text: string): unknown {
  const lines = new LineCounter();
  // The library's messages quote the text, so its secrets: only the place of a mistake is told.
  const wrong = (offset: number, what: string) => {
    const { line, col } = lines.linePos(offset);
    return malformed(`line ${line}, column ${col}`, `The kubeconfig is not valid YAML: ${what} at line ${line}, column ${col}.`);
  };
  try {
    checkMarkup(text);
    // Its own check of keys takes the square of their number.
    const document = parseDocument(text, {
      schema: "failsafe",
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "error",
      lineCounter: lines,
    });
    const [error] = document.errors;
    if (error) throw wrong(error.pos[0], error.code.toLowerCase().replaceAll("_", " "));
    visit(document, {
      Alias: (_, alias) => {
        throw wrong(alias.range?.[0] ?? 0, "an alias, which a kubeconfig has no need of,");
      },
      Map: (_, map) => {
        const seen = new Set<unknown>();
        for (const { key } of map.items) {
          const name = isScalar(key) ? key.value : key;
          if (seen.has(name)) throw wrong((isScalar(key) || isMap(key) ? key.range?.[0] : undefined) ?? 0, "a key that stands there twice");
          seen.add(name);
        }
      },
    });
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    if (error instanceof FleetError) throw error;
    throw malformed(null, "The kubeconfig cannot be read as YAML.");
  }
}

/** What a parser has work with. Of text that is nothing else it would take seconds for a megabyte; a kubeconfig is mostly long values. */
function checkMarkup(text: string): void {
  let marks = 0;
  for (const _ of text.matchAll(MARKUP)) {
    marks += 1;
    if (marks > MAX_MARKS) {
      throw kubeconfigError("KubeconfigTooLarge", null, `A kubeconfig has at most ${MAX_MARKS} lines and marks of YAML. ${SHORTER}`);
    }
  }
}

function tooLarge(): FleetError {
  return kubeconfigError("KubeconfigTooLarge", null, `A kubeconfig takes at most 1 MiB. ${SHORTER}`);
}
