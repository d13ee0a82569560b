// A process of its own, so that it can be given a priority, and so that its memory goes back when it ends.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const [priority, root, outDir] = process.argv.slice(2);
setPriority(Number(priority));
await build({ root, logLevel: "warn", build: { outDir, emptyOutDir: true } });

// Compressed once here instead of at every request: the page is 7 MB as it is, 2 MB so.
for (const name of readdirSync(join(outDir, "assets"))) {
  const file = join(outDir, "assets", name);
  if (/\.(js|css|svg|ttf)$/.test(name)) writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
}
