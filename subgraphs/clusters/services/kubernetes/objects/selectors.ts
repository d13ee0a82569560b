import { invalidArgument } from "../../../../../platform/errors/fleet-error.ts";

/** Characters of one selector. */
export const MAX_SELECTOR = 1_024;

const NAME = "[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
const KEY = `(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?${NAME}`;
const REQUIREMENTS = [
  new RegExp(`^!?\\s*${KEY}$`),
  new RegExp(`^${KEY}\\s*(?:==?|!=)\\s*(?:${NAME})?$`),
  new RegExp(`^${KEY}\\s+(?:in|notin)\\s*\\(\\s*(?:${NAME})?\\s*(?:,\\s*(?:${NAME})?\\s*)*\\)$`),
  new RegExp(`^${KEY}\\s*[<>]\\s*-?\\d{1,18}$`),
];
const FIELD_TERM = /^[A-Za-z][-\w.[\]'/]*(?:==?|!=)(?:[^\\,=]|\\[\\,=])*$/;

/** As `kubectl -l` has it: "app=web,tier!=cache,env in (a, b),!old". Null for none. Throws INVALID_ARGUMENT, naming the part at fault. */
export function checkLabelSelector(field: string, text: string | null | undefined): string | null {
  return check(field, text, /,(?![^(]*\))/, (part) => REQUIREMENTS.some((requirement) => requirement.test(part)), "app=web,env in (a,b)");
}

/**
 * As `kubectl --field-selector` has it: "status.phase=Running,spec.nodeName!=a". Which fields a kind can be selected by, the API judges.
 * Null for none. Throws INVALID_ARGUMENT, naming the part at fault.
 */
export function checkFieldSelector(field: string, text: string | null | undefined): string | null {
  return check(field, text, /(?<!\\),/, (part) => FIELD_TERM.test(part), "status.phase=Running");
}

function check(
  field: string,
  text: string | null | undefined,
  separator: RegExp,
  isRight: (part: string) => boolean,
  example: string,
): string | null {
  const selector = text?.trim() ?? "";
  if (selector === "") return null;
  if (selector.length > MAX_SELECTOR) throw invalidArgument(field, `At most ${MAX_SELECTOR} characters.`, { maxLength: MAX_SELECTOR });
  const parts = selector.split(separator).map((part) => part.trim());
  const wrong = parts.find((part) => !isRight(part));
  if (wrong !== undefined) {
    throw invalidArgument(field, `${JSON.stringify(wrong.slice(0, 100))} is no selector; one is, for example, "${example}".`);
  }
  return parts.join(",");
}
