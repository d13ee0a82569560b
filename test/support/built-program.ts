import { fileURLToPath } from "node:url";

/** The `fleetgraph` that tests start: the copy that copy-build.mjs made for this run, so that a build beside it changes nothing. */
export const FLEETGRAPH = process.env.TEST_FLEETGRAPH ?? fileURLToPath(new URL("../../bin/fleetgraph.mjs", import.meta.url));
