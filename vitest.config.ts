import { fileURLToPath } from "node:url";
import swc from "unplugin-swc";
import { defineConfig } from "vitest/config";
import { MemoryGuard } from "./test/support/memory-guard.ts";
import SkipReport from "./test/support/skip-report.ts";

/**
 * On CI's loaded machines a test with real daemons that fails is run once more; the report names those that needed it, which are to be mended.
 */
const retry = process.env.CI ? 1 : 0;

/** What differs between the folders of test/: unit tests have no peers, the others start servers and processes. */
const projects = [
  { name: "unit", testTimeout: 10_000, hookTimeout: 10_000, maxWorkers: 2 },
  { name: "integration", testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 3, retry },
  { name: "e2e", testTimeout: 180_000, hookTimeout: 120_000, maxWorkers: 2, retry },
];

export default defineConfig({
  plugins: [
    // Compiles as tsc does (tsconfig.json): the decorators' metadata is what type-graphql and MikroORM read.
    swc.vite({
      tsconfigFile: false,
      jsc: {
        target: "es2024",
        keepClassNames: true,
        parser: { syntax: "typescript", decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: true, verbatimModuleSyntax: true },
      },
    }),
  ],
  resolve: {
    // One copy of graphql in a test process: two refuse each other's schemas.
    alias: [{ find: /^graphql$/, replacement: fileURLToPath(import.meta.resolve("graphql/index.js")) }],
  },
  test: {
    globalSetup: ["test/support/detect-peers.ts", "test/support/copy-build.mjs"],
    reporters: ["default", new SkipReport(), new MemoryGuard()],
    env: { APOLLO_TELEMETRY_DISABLED: "true" },
    pool: "forks",
    // In MiB. What fills V8's heap ends with its message; the guard is for the rest.
    execArgv: ["--max-old-space-size=2048"],
    // Most of the time they wait, for guests, daemons and processes.
    maxWorkers: 3,
    teardownTimeout: 15_000,
    coverage: { provider: "v8", include: ["platform/**", "subgraphs/**", "gateway/**", "agent/**", "cli/**"] },
    projects: projects.map((project, order) => ({
      extends: true,
      test: {
        ...project,
        include: [`test/${project.name}/**/*.test.ts`],
        // One folder after the other: what starts processes does not share the machine with what measures nothing.
        sequence: { groupOrder: order },
      },
    })),
  },
});
