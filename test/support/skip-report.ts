import type { Reporter, TestModule, Vitest } from "vitest/node";

/** The last line of a test run: how many tests did not run, and why. */
export default class SkipReport implements Reporter {
  /** Tests that `-t` leaves out are not what this is about. */
  #filtered = false;

  onInit(vitest: Vitest): void {
    this.#filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.#filtered) return;
    const counts = new Map<string, number>();
    let total = 0;
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const result = test.result();
        const note = result.state === "skipped" ? result.note : undefined;
        const reason = test.meta().skipReason ?? note ?? `without a reason: ${test.fullName}`;
        counts.set(reason, (counts.get(reason) ?? 0) + 1);
        total += 1;
      }
    }
    const reasons = [...counts].map(([reason, count]) => `${count} × ${reason}`).join(", ");
    process.stdout.write(total === 0 ? " Not run: 0 tests\n\n" : ` Not run: ${total} ${total === 1 ? "test" : "tests"}: ${reasons}\n\n`);
  }
}
