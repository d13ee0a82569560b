import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root, with no slash at the end. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

export const inRoot = (...parts) => join(ROOT, ...parts);
/** A program of an installed package. */
export const program = (name) => inRoot("node_modules", ".bin", name);
