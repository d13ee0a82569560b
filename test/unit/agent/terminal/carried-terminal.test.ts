import { expect, test } from "vitest";
import { CarriedTerminal, type OpenTerminal } from "../../../../agent/terminal/carried-terminal.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { ConsoleEnd } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { FakeTerminal } from "../../../support/fake-terminal.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const size = { columns: 80, rows: 24 };
const refusal = (code: FleetError["code"], reason: string) => new FleetError(code, `It says ${reason}.`, { reason });

/** A terminal that is opened again as a test says: by a terminal, or by an error. */
function carried(answers: Array<FakeTerminal | Error>, awayMs = 30_000) {
  const first = new FakeTerminal();
  const opened: Array<Parameters<OpenTerminal>> = [];
  const reopen: OpenTerminal = async (...asked) => {
    opened.push(asked);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof FakeTerminal) return answer;
    throw answer;
  };
  const terminal = new CarriedTerminal({ terminal: first, size, reopen, awayMs, log });
  const seen: string[] = [];
  const ending = terminal.carry((data) => void seen.push(Buffer.from(data).toString()));
  return { first, terminal, opened, seen, ending };
}

test("it is opened again when its carrier ends, as often as it takes, at the size that it has then", async () => {
  const second = new FakeTerminal();
  const away = refusal("UNAVAILABLE", "DriverUnreachable");
  const { first, terminal, seen, opened, ending } = carried([away, refusal("FAILED_PRECONDITION", "ConsoleBusy"), second]);
  first.put("one");
  await terminal.resize({ columns: 100, rows: 30 });
  first.end(away);
  second.put("two");
  await until(() => seen.length === 2, "the second");
  expect(seen).toEqual(["one", "two"]);
  expect(opened.map(([now, , options]) => [now, options.force])).toEqual(Array(3).fill([{ columns: 100, rows: 30 }, false]));
  expect(first.disposed).toBe(true);
  await (await terminal.ready(1000, AbortSignal.timeout(10_000))).write(Buffer.from("x"));
  expect(second.typed).toEqual(["x"]);
  await terminal.close();
  expect(await ending).toMatchObject({ end: ConsoleEnd.CLOSED });
  expect(second.disposed).toBe(true);
});

test.each([
  ["the instance has stopped", refusal("FAILED_PRECONDITION", "InstanceNotRunning"), ConsoleEnd.STOPPED],
  ["the instance is gone", refusal("FAILED_PRECONDITION", "InstanceMissing"), ConsoleEnd.STOPPED],
  ["the instance is not the node's any more", refusal("NOT_FOUND", ""), ConsoleEnd.STOPPED],
  ["the instance was restarted", new FakeTerminal({ run: "2" }), ConsoleEnd.STOPPED],
  ["its host has no console for it any more", refusal("FAILED_PRECONDITION", "NoConsole"), ConsoleEnd.LOST],
])("it is over when %s", async (_what, answer, end) => {
  const { first, terminal, ending } = carried(
    [refusal("UNAVAILABLE", "EngineUnreachable"), refusal("FAILED_PRECONDITION", "EngineRefused"), answer],
    500,
  );
  first.end();
  expect(await ending).toMatchObject({ end });
  if (answer instanceof FakeTerminal) expect(answer.disposed).toBe(true);
  await expect(terminal.ready(1000, AbortSignal.timeout(10_000))).rejects.toMatchObject({ reason: "ConsoleEnded" });
});

test("an instance that moved is said to have moved", async () => {
  const { first, opened, ending } = carried([refusal("NOT_FOUND", "")]);
  first.migrated = true;
  first.end();
  expect(await ending).toMatchObject({ end: ConsoleEnd.MIGRATED });
  expect(opened).toEqual([]);
});

test("what stays away for too long is lost; until then, input is told to come again", async () => {
  const { first, terminal, ending } = carried([refusal("UNAVAILABLE", "DriverUnreachable")], 300);
  first.end();
  await until(() => first.disposed);
  await expect(terminal.ready(10, AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "ConsoleAway" });
  expect(await ending).toEqual({ end: ConsoleEnd.LOST, message: "It says DriverUnreachable." });
});

test("who insists takes it from the program that holds it", async () => {
  const { first, terminal, opened, ending } = carried([refusal("FAILED_PRECONDITION", "ConsoleBusy")]);
  first.end();
  await until(() => opened.length > 1);
  terminal.insist();
  await until(() => opened.some(([, , { force }]) => force), "a try by force");
  await terminal.close();
  expect(await ending).toMatchObject({ end: ConsoleEnd.CLOSED });
});
