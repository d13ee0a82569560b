import { incomplete, malformed } from "./kubeconfig-errors.ts";

const MAX_NAME_LENGTH = 256;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** One mapping of a kubeconfig and where it stands, for the errors. Values are text; "null", "~" and nothing mean that there is none. */
export class KubeconfigMapping {
  readonly place: string;
  readonly #values: Record<string, unknown>;

  constructor(place: string, value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw malformed(place || null, place === "" ? "This is no kubeconfig." : `The kubeconfig's ${place} is no mapping.`);
    }
    this.place = place;
    this.#values = value as Record<string, unknown>;
  }

  has(key: string): boolean {
    return !isNothing(this.#value(key));
  }

  text(key: string): string | null {
    const value = this.#value(key);
    if (isNothing(value)) return null;
    if (typeof value !== "string") throw malformed(this.at(key), `The kubeconfig's ${this.at(key)} is no text.`);
    return value.trim();
  }

  /** As `text`, of what has to be there and is shown to people. */
  name(key: string): string {
    const name = this.text(key);
    if (name === null) throw incomplete(this.at(key), `The kubeconfig's ${this.at(key)} is missing.`);
    if (name.length > MAX_NAME_LENGTH) {
      throw malformed(this.at(key), `The kubeconfig's ${this.at(key)} is longer than ${MAX_NAME_LENGTH} characters.`);
    }
    return name;
  }

  flag(key: string): boolean {
    const text = this.text(key)?.toLowerCase() ?? "false";
    if (text !== "true" && text !== "false") throw malformed(this.at(key), `The kubeconfig's ${this.at(key)} is neither true nor false.`);
    return text === "true";
  }

  /** What stands there in base64, as text. */
  decoded(key: string): string | null {
    const packed = this.text(key)?.replace(/\s+/g, "") ?? null;
    if (packed !== null && !BASE64.test(packed)) throw malformed(this.at(key), `The kubeconfig's ${this.at(key)} is no base64.`);
    return packed === null ? null : Buffer.from(packed, "base64").toString("utf8");
  }

  mapping(key: string): KubeconfigMapping {
    const value = this.#value(key);
    return new KubeconfigMapping(this.at(key), isNothing(value) ? {} : value);
  }

  /** A list of mappings that each have a name, by it. */
  named(key: string): Map<string, KubeconfigMapping> {
    const list = this.#value(key);
    const found = new Map<string, KubeconfigMapping>();
    if (isNothing(list)) return found;
    if (!Array.isArray(list)) throw malformed(this.at(key), `The kubeconfig's ${this.at(key)} is no list.`);
    for (const [index, value] of list.entries()) {
      const name = new KubeconfigMapping(`${key}[${index}]`, value).name("name");
      const place = `${key}[${JSON.stringify(name)}]`;
      if (found.has(name)) throw malformed(place, `The kubeconfig has two ${key} of the name ${JSON.stringify(name)}.`);
      found.set(name, new KubeconfigMapping(place, value));
    }
    return found;
  }

  at(key: string): string {
    return this.place === "" ? key : `${this.place}.${key}`;
  }

  #value(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? this.#values[key] : undefined;
  }
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === "string" && ["", "null", "~"].includes(value.trim()));
}
