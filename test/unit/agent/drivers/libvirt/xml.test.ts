import { afterEach, expect, test } from "vitest";
import { attribute, buildXml, element, elements, isXmlText, parseXml, text } from "../../../../../agent/drivers/libvirt/xml.ts";
import { randomText } from "../../../../support/instance-plans.ts";
import { seededRandom, seedOfRun } from "../../../../support/random.ts";

const SEED = seedOfRun();

afterEach(({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`repeat with SEED=${SEED}\n`);
});

test("any text comes back unchanged, from an element and from an attribute", () => {
  const random = seededRandom(SEED);
  for (let round = 0; round < 500; round++) {
    const value = randomText(random);
    const read = parseXml(buildXml({ root: { "@value": value, child: value, other: { "@a": 1, "#text": value } } }), "root");
    expect(attribute(read, "value")).toBe(value);
    expect(text(element(read, "child"))).toBe(value);
    expect(text(element(read, "other"))).toBe(value);
  }
});

test("blanks, returns and tabs are kept where readers would change them", () => {
  const value = " \t a\r\nb\n\n ";
  const xml = buildXml({ root: { "@value": value, child: value } });
  expect(xml).not.toMatch(/[\r\n\t]/);
  const read = parseXml(xml, "root");
  expect([attribute(read, "value"), text(element(read, "child"))]).toEqual([value, value]);
});

test("the words true and false are values like any other, and booleans say whether an element is there", () => {
  const xml = buildXml({ root: { "@yes": "true", "@no": "false", there: true, gone: false, none: null, child: "true" } });
  expect(xml).toBe('<root yes="true" no="false"><there/><child>true</child></root>');
});

test("elements of the same name are read in their order, one as well as many", () => {
  const many = parseXml(buildXml({ root: { disk: [{ "@i": 1 }, { "@i": 2 }, {}] } }), "root");
  expect(elements(many, "disk").map((disk) => attribute(disk, "i"))).toEqual(["1", "2", ""]);
  expect(elements(parseXml("<root><disk>a</disk></root>", "root"), "disk").map(text)).toEqual(["a"]);
  expect(elements(parseXml("<root/>", "root"), "disk")).toEqual([]);
});

test.each(["\u0000", "a\u0008", "\u001b[31m", "\ufffe", "\ud800"])("%j is refused: no XML can carry it", (value) => {
  expect(isXmlText(value)).toBe(false);
  expect(() => buildXml({ root: { child: value } })).toThrow(RangeError);
  expect(() => buildXml({ root: { "@value": value } })).toThrow(RangeError);
});

test("what is another element, or no XML, is an error", () => {
  expect(() => parseXml("<domain/>", "network")).toThrow("<network>");
  expect(() => parseXml("<domain>", "domain")).toThrow();
  expect(() => parseXml("", "domain")).toThrow();
});
