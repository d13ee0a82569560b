import { XMLBuilder, XMLParser } from "fast-xml-parser";

/** Elements by name; "@name" is an attribute, "#text" the element's own text. Null, undefined and false leave it out; true is an empty element. */
export interface XmlTree {
  [name: string]: XmlTree | XmlTree[] | string | number | boolean | null | undefined;
}

/** An element as it was read. */
export type XmlElement = Readonly<Record<string, unknown>>;

const ESCAPES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
  // A reader makes blanks of these in attributes, and a newline of a return anywhere.
  "\t": "&#9;",
  "\n": "&#10;",
  "\r": "&#13;",
};

const builder = new XMLBuilder({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  // Otherwise an attribute with the value "true" loses it.
  suppressBooleanAttributes: false,
  suppressEmptyNode: true,
  processEntities: false,
  tagValueProcessor: (_name, value) => escaped(value),
  attributeValueProcessor: (_name, value) => escaped(value),
});

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  // Without it, character references such as &#10; stay as they are.
  htmlEntities: true,
});

/** Throws RangeError for a text that no XML can hold (see `isXmlText`). */
export function buildXml(tree: XmlTree): string {
  return builder.build(pruned(tree));
}

/** The root element and its name. Throws for what is no XML. */
export function parseXml(xml: string, root: string): XmlElement {
  const element = asElement((parser.parse(xml, true) as XmlElement)[root]);
  if (element === null) throw new TypeError(`libvirt sent XML without the element <${root}>.`);
  return element;
}

/** All elements of that name, in their order. */
export function elements(parent: XmlElement | null, name: string): XmlElement[] {
  const value = parent !== null && Object.hasOwn(parent, name) ? parent[name] : undefined;
  return (Array.isArray(value) ? value : [value]).map(asElement).filter((one) => one !== null);
}

/** The first element at the end of a path; null where there is none. */
export function element(parent: XmlElement | null, ...path: string[]): XmlElement | null {
  let at = parent;
  for (const name of path) at = elements(at, name)[0] ?? null;
  return at;
}

/** "" where there is none. */
export function attribute(of: XmlElement | null, name: string): string {
  const value = of?.[`@${name}`];
  return typeof value === "string" ? value : "";
}

/** "" where there is none. */
export function text(of: XmlElement | null): string {
  const value = of?.["#text"];
  return typeof value === "string" ? value : "";
}

/** Whether XML 1.0 can carry it: no control characters but tab, newline and return, no halves of a character, none of the two noncharacters. */
export function isXmlText(value: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that they are not there is what is asked.
  return value.isWellFormed() && !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(value);
}

function escaped(value: unknown): string {
  const plain = String(value);
  if (!isXmlText(plain)) throw new RangeError(`${JSON.stringify(plain.slice(0, 60))} holds a character that XML cannot carry.`);
  return plain.replace(/[&<>"'\t\n\r]/g, (character) => ESCAPES[character] ?? character);
}

function pruned(tree: XmlTree): XmlTree {
  const kept: XmlTree = {};
  for (const [name, value] of Object.entries(tree)) {
    if (value === null || value === undefined || value === false) continue;
    if (Array.isArray(value)) kept[name] = value.map(pruned);
    else if (typeof value === "object") kept[name] = pruned(value);
    else kept[name] = value === true ? "" : String(value);
  }
  return kept;
}

function asElement(value: unknown): XmlElement | null {
  // An element with nothing but text is read as that text.
  if (typeof value === "string") return value === "" ? {} : { "#text": value };
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as XmlElement) : null;
}
