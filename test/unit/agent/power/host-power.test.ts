import { expect, it } from "vitest";
import { type ExecResult, type HostChannel, type HostCommand, HostReadError } from "../../../../agent/host/host-channel.ts";
import { HostPower } from "../../../../agent/power/host-power.ts";
import { createLogger } from "../../../../platform/observability/log.ts";

const log = createLogger({ name: "test", level: "silent" });
const BOOT = "0c2f0f3e-7a0c-4f7e-9d6b-2f5d6f1f2a10";
const MANAGER = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager";
const ORDER = { operationId: "op-1", bootId: BOOT, reason: "new kernel" };

const ok = (stdout = ""): ExecResult => ({ exitCode: 0, stdout, stderr: "" });
const failed = (stderr: string): ExecResult => ({ exitCode: 1, stdout: "", stderr });

/** What busctl of systemd 252 writes on a host that is well. */
const WELL: Record<string, ExecResult> = {
  [`busctl --json=short get-property ${MANAGER} PreparingForShutdown`]: ok('{"type":"b","data":false}\n'),
  [`busctl --json=short call ${MANAGER} CanReboot`]: ok('{"type":"s","data":["yes"]}\n'),
  [`busctl --json=short call ${MANAGER} CanPowerOff`]: ok('{"type":"s","data":["yes"]}\n'),
  [`busctl --json=short call ${MANAGER} ListInhibitors`]: ok(
    '{"type":"a(ssssuu)","data":[[["shutdown:sleep","dnf","ends its transaction","delay",0,711]]]}\n',
  ),
  [`busctl call ${MANAGER} Reboot b false`]: ok(),
  [`busctl call ${MANAGER} PowerOff b false`]: ok(),
};

/** A host whose programs answer as written down; what is not named is not installed. */
class WrittenHost {
  readonly ran: HostCommand[] = [];
  bootId = BOOT;
  init: "systemd" | "other" | "unreachable" | "no shell" = "systemd";

  constructor(readonly answers: Record<string, ExecResult | HostReadError> = WELL) {}

  get channel(): HostChannel {
    return this as unknown as HostChannel;
  }

  async read(path: string): Promise<string> {
    if (this.init === "unreachable") throw new HostReadError("HOST_UNREACHABLE", path, "gone");
    if (path === "/proc/stat") return "cpu  1 2 3\nbtime 1790000000\n";
    return `${this.bootId}\n`;
  }

  async list(path: string): Promise<string[]> {
    if (this.init === "other") throw new HostReadError("NOT_PRESENT", path, `${path} is not there.`);
    if (this.init === "no shell") throw new HostReadError("NO_SHELL", path, "only libvirt");
    return [];
  }

  async exec(command: HostCommand): Promise<ExecResult> {
    this.ran.push(command);
    const answer = this.answers[[command.program, ...command.args].join(" ")];
    if (answer instanceof Error) throw answer;
    if (answer === undefined) throw new HostReadError("NOT_INSTALLED", command.program, `${command.program} is not installed.`);
    return answer;
  }

  /** What was asked of the init as root, and changes something. */
  get orders(): string[] {
    return this.ran.flatMap(({ program, args, privileged }) =>
      privileged && !args.includes("--json=short") ? `${program} ${args.at(-3)}` : [],
    );
  }
}

const open = (host: WrittenHost, isAllowed = true) => new HostPower(host.channel, isAllowed, log);

it("tells the boot and that the host can go down; a delay is not in the way", async () => {
  expect(await open(new WrittenHost()).state()).toEqual({
    bootId: BOOT,
    bootedAt: new Date(1_790_000_000_000),
    canReboot: true,
    canShutDown: true,
    reason: "",
    message: "",
    operationId: "",
  });
});

it("asks logind as root, once per operation, however often it is told", async () => {
  const host = new WrittenHost();
  const power = open(host);
  const states = await Promise.all([power.order("REBOOT", ORDER), power.order("REBOOT", ORDER)]);
  expect(states.map(({ operationId }) => operationId)).toEqual(["op-1", "op-1"]);
  expect(await power.order("REBOOT", ORDER)).toMatchObject({ bootId: BOOT });
  expect(host.orders).toEqual(["busctl Reboot"]);
  expect(await power.state()).toMatchObject({ operationId: "op-1" });
  await expect(power.order("SHUTDOWN", { ...ORDER, operationId: "op-2" })).rejects.toMatchObject({ reason: "PowerUnderWay" });
  expect(host.orders).toEqual(["busctl Reboot"]);
});

it("does nothing to another boot, and forgets with it what it did", async () => {
  const host = new WrittenHost();
  const power = open(host);
  await power.order("REBOOT", ORDER);
  host.bootId = "another";
  await expect(power.order("REBOOT", ORDER)).rejects.toMatchObject({ reason: "AnotherBoot", details: { bootId: "another" } });
  expect(await power.state()).toMatchObject({ bootId: "another", operationId: "" });
  await power.order("SHUTDOWN", { operationId: "op-2", bootId: "another", reason: "" });
  expect(host.orders).toEqual(["busctl Reboot", "busctl PowerOff"]);
});

it("an agent that was restarted finds it under way", async () => {
  const host = new WrittenHost({
    ...WELL,
    [`busctl --json=short get-property ${MANAGER} PreparingForShutdown`]: ok('{"type":"b","data":true}'),
  });
  await open(host).order("REBOOT", ORDER);
  expect(host.orders).toEqual([]);
});

it("goes by systemctl where systemd has no logind", async () => {
  const away = failed("Failed to set bus address: No such file or directory");
  const answers: Record<string, ExecResult> = Object.fromEntries(Object.keys(WELL).map((line) => [line, away]));
  const host = new WrittenHost({ ...answers, "systemctl is-system-running": ok("degraded\n"), "systemctl --no-block reboot": ok() });
  const power = open(host);
  expect(await power.state()).toMatchObject({ canReboot: true, canShutDown: true });
  await power.order("REBOOT", ORDER);
  expect(host.ran.at(-1)).toMatchObject({ program: "systemctl", args: ["--no-block", "reboot"], privileged: true });
});

const canReboot = (word: string) => ({ ...WELL, [`busctl --json=short call ${MANAGER} CanReboot`]: ok(`{"type":"s","data":["${word}"]}`) });
const BLOCKED = ok('{"type":"a(ssssuu)","data":[[["shutdown","apt","upgrades","block",0,4711],["idle","me","typing","block",0,1]]]}');

it.each([
  ["its owner does not allow it", "PowerNotAllowed", new WrittenHost(), false],
  ["it has no systemd", "NoLogind", Object.assign(new WrittenHost(), { init: "other" }), true],
  ["only libvirt reaches it", "NoShell", Object.assign(new WrittenHost(), { init: "no shell" }), true],
  ["a program blocks it", "Inhibited", new WrittenHost({ ...WELL, [`busctl --json=short call ${MANAGER} ListInhibitors`]: BLOCKED }), true],
  ["logind does not know how", "NotSupported", new WrittenHost(canReboot("na")), true],
  ["its policy says no", "NoPermission", new WrittenHost(canReboot("no")), true],
  ["its policy wants a password", "NoPermission", new WrittenHost(canReboot("challenge")), true],
  ["logind says that it is inhibited", "Inhibited", new WrittenHost(canReboot("inhibitor-blocked")), true],
  [
    "sudo refuses",
    "NoPermission",
    new WrittenHost({
      ...WELL,
      [`busctl --json=short call ${MANAGER} CanReboot`]: new HostReadError("NO_PERMISSION", "sudo", "sudo: a password is required"),
    } as never),
    true,
  ],
])("refuses where %s: %s", async (_why, reason, host, isAllowed) => {
  const power = open(host, isAllowed);
  expect(await power.state()).toMatchObject({ canReboot: false, reason });
  await expect(power.order("REBOOT", ORDER)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason });
  expect(host.orders).toEqual([]);
});

it("says why logind refused, and can be asked again", async () => {
  const answers = { ...WELL, [`busctl call ${MANAGER} Reboot b false`]: failed("Call failed: Interactive authentication required.") };
  const host = new WrittenHost(answers);
  const power = open(host);
  await expect(power.order("REBOOT", ORDER)).rejects.toMatchObject({ reason: "NoPermission" });
  answers[`busctl call ${MANAGER} Reboot b false`] = failed("Call failed: something else");
  await expect(power.order("REBOOT", ORDER)).rejects.toMatchObject({
    reason: "PowerFailed",
    message: expect.stringContaining("something else"),
  });
  answers[`busctl call ${MANAGER} Reboot b false`] = ok();
  await expect(power.order("REBOOT", ORDER)).resolves.toMatchObject({ operationId: "op-1" });
});

it("a host that cannot be reached is unavailable, not refused", async () => {
  const host = Object.assign(new WrittenHost(), { init: "unreachable" });
  await expect(open(host).state()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "HostUnreachable" });
  await expect(open(host).order("REBOOT", ORDER)).rejects.toMatchObject({ code: "UNAVAILABLE" });
});
