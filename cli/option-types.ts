import { InvalidArgumentError } from "commander";
import { integer, type Kind, wholeSeconds } from "../platform/config/kinds.ts";

/** For an option that takes a whole number. */
export const integerOption = (min: number, max: number) => reader(integer(min, max));

/** For an option that takes a duration; its value is in seconds. */
export const secondsOption = (min: number, max: number) => reader(wholeSeconds(min, max));

/** Options that are no settings are read and refused as settings are. */
function reader<T>(kind: Kind<T>): (text: string) => T {
  return (text) => {
    const result = kind.type.safeParse(text);
    if (result.success) return result.data;
    throw new InvalidArgumentError(`It is not ${kind.form}.`);
  };
}
