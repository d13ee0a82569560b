import { readFile, writeFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { createLogger } from "../../platform/observability/log.ts";

interface CaptureOptions {
  out?: string;
  raw?: true;
  ssh?: string;
  identity?: string;
  hostKey?: string;
}

const SIGN_IN_MS = 30_000;

export function agentCaptureCommand(): Command {
  return new Command("capture")
    .description(
      "Print everything that the agent reads of this machine, or of another one by SSH, without serial numbers, addresses and names.",
    )
    .addOption(new Option("--out <file>", "Write it to a file (default: standard output)"))
    .addOption(new Option("--raw", "Keep serial numbers, addresses and names"))
    .addOption(new Option("--ssh <user@host[:port]>", "Another machine"))
    .addOption(new Option("--identity <file>", "The private key for --ssh"))
    .addOption(new Option("--host-key <key>", 'The host key to expect, "ssh-ed25519 AAAA…" (default: any)'))
    .action(async (options: CaptureOptions) => {
      const { captureText } = await import("../../agent/capture.ts");
      await using opened = await openHost(options);
      const text = await captureText(opened.host, { raw: options.raw === true });
      if (options.out === undefined) process.stdout.write(text);
      else await writeFile(options.out, text);
    });
}

async function openHost({ ssh, identity, hostKey }: CaptureOptions) {
  if (ssh === undefined) {
    const { LocalHost } = await import("../../agent/host/local.ts");
    return { host: new LocalHost(), [Symbol.asyncDispose]: async () => undefined };
  }
  const { openSshHost } = await import("../../agent/host/ssh/ssh-host.ts");
  const { invalidArgument } = await import("../../platform/errors/fleet-error.ts");
  const [, user, name, port] = /^([^@]+)@(.+?)(?::(\d+))?$/.exec(ssh) ?? [];
  if (user === undefined || name === undefined) throw invalidArgument("ssh", "--ssh is USER@HOST or USER@HOST:PORT.");
  if (identity === undefined) throw invalidArgument("identity", "--ssh needs --identity, the file of a private key.");
  const host = openSshHost({
    ...{ host: name, port: port === undefined ? undefined : Number(port), user },
    privateKey: await readFile(identity, "utf8"),
    hostKeys: hostKey === undefined ? [] : [hostKey],
    log: createLogger({ name: "capture", level: "silent" }),
  });
  try {
    await host.attempt(AbortSignal.timeout(SIGN_IN_MS));
  } catch (error) {
    await host.close();
    throw error;
  }
  return { host, [Symbol.asyncDispose]: () => host.close() };
}
