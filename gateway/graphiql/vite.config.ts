import { defineConfig } from "vite";

/** Everything is bundled: the page asks nothing of any other origin. */
export default defineConfig({
  base: "./",
  worker: { format: "es" },
  build: { target: "es2022", chunkSizeWarningLimit: 8_000, sourcemap: false },
});
