import { Arg, ID, Resolver, Root, Subscription } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { ConsoleEncoding } from "../../services/consoles/console-types.ts";
import { encodeOutput } from "../../services/consoles/encoded-output.ts";
import type { ComputeContext } from "../compute-context.ts";
import { ConsoleEncodingEnum } from "./console-enums.ts";
import { ConsoleOutputObject } from "./console-output-type.ts";

interface ConsoleOutputArgs {
  sessionId: string;
  offset?: number | null;
  encoding: ConsoleEncoding;
}

@Resolver(() => ConsoleOutputObject)
export class ConsoleOutputResolver {
  @Subscription(() => ConsoleOutputObject, {
    description:
      "What a console puts out, at the reader's pace; one that is much slower than the console loses bytes, which the next frame says (`skipped`). The last frame has the session's end. After a loss, go on with `offset`: the last frame's nextOffset. Rights: operator; admin for a shell.",
    subscribe: ({ args, context }: { args: ConsoleOutputArgs; context: ComputeContext }) =>
      encodeOutput(context.services.consoles.follow(context.request, args.sessionId, args.offset ?? null), args.encoding),
  })
  consoleOutput(
    @Root() frame: ConsoleOutputObject,
    @Arg("sessionId", () => ID) _sessionId: string,
    @Arg("offset", () => Int64, { nullable: true, description: "From this byte on, where it is still kept; left out: all that is kept." })
    _offset: number | null,
    @Arg("encoding", () => ConsoleEncodingEnum, { defaultValue: ConsoleEncodingEnum.TEXT }) _encoding: ConsoleEncoding,
  ): ConsoleOutputObject {
    return frame;
  }
}
