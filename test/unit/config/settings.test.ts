import { describe, expect, it } from "vitest";
import { renderReference } from "../../../platform/config/reference.ts";
import { COMMANDS } from "../../../platform/config/settings/setting.ts";
import { environmentName, settingEntries } from "../../../platform/config/settings.ts";

describe("the table of settings", () => {
  it.each(COMMANDS)("gives no flag of `%s` two meanings", (command) => {
    const flags = settingEntries().flatMap(([, setting]) => (setting.commands.includes(command) && setting.flag ? [setting.flag] : []));
    expect(flags.filter((flag, index) => flags.indexOf(flag) !== index)).toEqual([]);
  });

  it("gives every key a variable of its own", () => {
    const names = settingEntries().map(([key]) => environmentName(key));
    expect(new Set(names).size).toBe(names.length);
    expect(environmentName("gateway.publicUrl")).toBe("FLEETGRAPH_GATEWAY_PUBLIC_URL");
    expect(environmentName("dataDir")).toBe("FLEETGRAPH_DATA_DIR");
  });

  it("has defaults that its own kinds accept", () => {
    for (const [key, setting] of settingEntries()) {
      const value =
        typeof setting.default === "function"
          ? (setting.default as (c: object) => unknown)({ dataDir: "d", subgraph: null })
          : setting.default;
      if (value !== undefined) expect(setting.kind.type.safeParse(value), key).toMatchObject({ success: true });
    }
  });

  it("is wholly in the reference", () => {
    const page = renderReference();
    for (const [key, setting] of settingEntries()) {
      expect(page).toContain(`**${key}**`);
      expect(setting.description, key).toMatch(/[.]$/);
    }
  });
});
