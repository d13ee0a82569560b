// A process of its own, so that it can be given a priority and what it takes of memory ends with it.
import { setPriority } from "node:os";
import { build } from "vite";

const [priority, root, outDir] = process.argv.slice(2);
setPriority(Number(priority));
await build({ root, logLevel: "warn", build: { outDir, emptyOutDir: true } });
