import { XMLBuilder, XMLParser } from "fast-xml-parser";

/** An element as it stands in a document: its name is the one key besides ":@", under it is what it holds, in order. */
export interface OrderedElement {
  ":@"?: Record<string, string>;
  [name: string]: OrderedElement[] | string | Record<string, string> | undefined;
}

const options = { preserveOrder: true, ignoreAttributes: false, attributeNamePrefix: "", processEntities: false } as const;
const parser = new XMLParser({ ...options, parseTagValue: false, parseAttributeValue: false, trimValues: false });
const builder = new XMLBuilder({ ...options, suppressEmptyNode: true, suppressBooleanAttributes: false });

/** A document of others that is to be changed in a few places: what is not touched is written as it was read. */
export function parseOrdered(xml: string): OrderedElement[] {
  return parser.parse(xml, true) as OrderedElement[];
}

export function buildOrdered(document: OrderedElement[]): string {
  return builder.build(document) as string;
}

/** What an element holds under its name; null for another element. */
export function contentOf(element: OrderedElement, name: string): OrderedElement[] | null {
  const content = element[name];
  return Array.isArray(content) ? content : null;
}

/** All elements of that name, in order. */
export function named(content: readonly OrderedElement[], name: string): OrderedElement[] {
  return content.filter((element) => contentOf(element, name) !== null);
}

/** What is held by the first element at the end of a path; null where there is none. */
export function inside(content: readonly OrderedElement[], ...path: string[]): OrderedElement[] | null {
  let at: OrderedElement[] | null = [...content];
  for (const name of path) {
    const first: OrderedElement | undefined = named(at ?? [], name)[0];
    at = first === undefined ? null : contentOf(first, name);
  }
  return at;
}

export function attributeOf(element: OrderedElement | undefined, name: string): string {
  return unescaped(element?.[":@"]?.[name] ?? "");
}

export function setAttribute(element: OrderedElement, name: string, value: string): void {
  element[":@"] = { ...element[":@"], [name]: escaped(value) };
}

export function textOf(content: readonly OrderedElement[] | null): string {
  const text = content?.[0]?.["#text"];
  return typeof text === "string" ? unescaped(text) : "";
}

export function setText(content: OrderedElement[], text: string): void {
  content.splice(0, content.length, { "#text": escaped(text) });
}

const ESCAPES: readonly (readonly [string, string])[] = [
  ["&", "&amp;"],
  ["<", "&lt;"],
  [">", "&gt;"],
  ['"', "&quot;"],
  ["'", "&apos;"],
];

function escaped(text: string): string {
  return ESCAPES.reduce((result, [character, entity]) => result.replaceAll(character, entity), text);
}

function unescaped(text: string): string {
  return [...ESCAPES].reverse().reduce((result, [character, entity]) => result.replaceAll(entity, character), text);
}
