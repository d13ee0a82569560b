import { describe, expect, it } from "vitest";
import { Metrics } from "../../../platform/observability/metrics.ts";

describe("metrics", () => {
  it("gives the same metric for the same name, and its text", async () => {
    const metrics = new Metrics();
    metrics.counter("fleetgraph_calls_total", "Calls.", ["code"]).inc({ code: "OK" });
    metrics.counter("fleetgraph_calls_total", "Calls.", ["code"]).inc({ code: "OK" });
    metrics.gauge("fleetgraph_open", "Open.", [], (gauge) => gauge.set(7));
    metrics.histogram("fleetgraph_seconds", "Time.", []).observe(0.02);
    const text = await metrics.text();
    expect(text).toContain('fleetgraph_calls_total{code="OK"} 2');
    expect(text).toContain("fleetgraph_open 7");
    expect(text).toContain('fleetgraph_seconds_bucket{le="0.025"} 1');
  });

  it("refuses a name for two kinds, and keeps two processes' worth apart", () => {
    const metrics = new Metrics();
    metrics.counter("fleetgraph_x", "X.");
    expect(() => metrics.gauge("fleetgraph_x", "X.")).toThrow(/another kind/);
    expect(() => new Metrics().gauge("fleetgraph_x", "X.")).not.toThrow();
  });
});
