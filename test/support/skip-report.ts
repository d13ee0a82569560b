import type { Reporter, TestCase, TestModule, Vitest } from "vitest/node";

/** The last lines of a test run: how many tests did not run, and why; and those that passed only when they were run again. */
export default class SkipReport implements Reporter {
  /** Tests that `-t` leaves out are not what this is about. */
  #filtered = false;

  onInit(vitest: Vitest): void {
    this.#filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.#filtered) return;
    const counts = new Map<string, number>();
    const unsteady: string[] = [];
    let total = 0;
    for (const module of modules) {
      for (const test of module.children.allTests("passed"))
        if (test.diagnostic()?.flaky) unsteady.push(`\n  ${test.fullName}\n    ${whyFirst(test)}`);
      for (const test of module.children.allTests("skipped")) {
        const result = test.result();
        const note = result.state === "skipped" ? result.note : undefined;
        const reason = test.meta().skipReason ?? note ?? `without a reason: ${test.fullName}`;
        counts.set(reason, (counts.get(reason) ?? 0) + 1);
        total += 1;
      }
    }
    const reasons = [...counts].map(([reason, count]) => `${count} × ${reason}`).join(", ");
    if (unsteady.length > 0) process.stdout.write(` Passed only when run again:${unsteady.join("")}\n`);
    process.stdout.write(total === 0 ? " Not run: 0 tests\n\n" : ` Not run: ${total} ${total === 1 ? "test" : "tests"}: ${reasons}\n\n`);
  }
}

/** What the run that failed said, in one line. */
function whyFirst(test: TestCase): string {
  const [error] = test.result().errors ?? [];
  const place = error?.stacks?.[0];
  const at = place === undefined ? "" : ` (${place.file.split("/").at(-1)}:${place.line})`;
  return `${(error?.message ?? "its error was not kept").replace(/\s+/g, " ").slice(0, 500)}${at}`;
}
