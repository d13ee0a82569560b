import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { inputBytes } from "../../services/consoles/console-input.ts";
import type { ComputeContext } from "../compute-context.ts";
import { CloseConsoleInput, OpenConsoleInput, OpenNodeShellInput, ResizeConsoleInput, WriteConsoleInput } from "./console-inputs.ts";
import {
  CloseConsolePayload,
  type ConsoleSessionPayload,
  OpenConsolePayload,
  type OpenedConsolePayload,
  OpenNodeShellPayload,
  ResizeConsolePayload,
  WriteConsolePayload,
} from "./console-payloads.ts";
import { ConsoleSessionObject } from "./console-session-type.ts";

/** All about shells is for admins, whichever mutation it is. */
@Resolver(() => ConsoleSessionObject)
export class ConsoleMutationsResolver {
  @Mutation(() => OpenConsolePayload, {
    description:
      "Opens the console of a running instance, or joins the session that it has. Rights: operator. FAILED_PRECONDITION: InstanceNotRunning, InstanceUnmanaged, NoConsole, ConsoleBusy (another program on the host holds it: take it over).",
  })
  openConsole(
    @Arg("input", () => OpenConsoleInput) { instanceId, ...opening }: OpenConsoleInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<OpenedConsolePayload> {
    return services.consoles.open(request, instanceId, opening);
  }

  @Mutation(() => OpenNodeShellPayload, {
    description: "Opens a login shell on a host whose own configuration allows that. Rights: admin.",
  })
  openNodeShell(
    @Arg("input", () => OpenNodeShellInput) { nodeId, ...opening }: OpenNodeShellInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<OpenedConsolePayload> {
    return services.consoles.openShell(request, nodeId, opening);
  }

  @Mutation(() => WriteConsolePayload, {
    description:
      "Types. FAILED_PRECONDITION: NotTheWriter (`writer`) where somebody else does (see takeOver), InputGap (`expected`), NoInput, ConsoleEnded. UNAVAILABLE, reason ConsoleAway, and RESOURCE_EXHAUSTED: nothing was typed. Rights: operator; admin for a shell.",
  })
  writeConsole(
    @Arg("input", () => WriteConsoleInput) { data, text, ...input }: WriteConsoleInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<WriteConsolePayload> {
    return services.consoles.write(request, { ...input, data: inputBytes(text, data) });
  }

  @Mutation(() => ResizeConsolePayload, {
    description:
      "Changes the terminal's size. Only the writer may: FAILED_PRECONDITION, reason NotTheWriter. Rights: operator; admin for a shell.",
  })
  async resizeConsole(
    @Arg("input", () => ResizeConsoleInput) input: ResizeConsoleInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<ConsoleSessionPayload> {
    return { session: await services.consoles.resize(request, input) };
  }

  @Mutation(() => CloseConsolePayload, {
    description: "Ends the session for all. An instance goes on; a shell is ended. Rights: operator; admin for a shell.",
  })
  async closeConsole(
    @Arg("input", () => CloseConsoleInput) { sessionId }: CloseConsoleInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<ConsoleSessionPayload> {
    return { session: await services.consoles.close(request, sessionId) };
  }
}
