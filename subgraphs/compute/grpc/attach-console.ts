import type { RequestContext } from "../../../platform/request-context.ts";
import type { ConsoleInput, ConsoleOutput } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { mapIterator } from "../../kit/graphql/async-iterators.ts";
import { inMessageFields } from "../../kit/grpc/field-names.ts";
import { type AttachedInput, attachConsole } from "../services/consoles/attached-console.ts";
import type { ConsoleOutputFrame } from "../services/consoles/console-types.ts";
import type { Consoles } from "../services/consoles/consoles.ts";

/** Names that only these messages have. */
const FIELDS = { columns: "resize.width", rows: "resize.height" };

/** ComputeService.AttachConsole: messages in, messages out. */
export async function* attachConsoleMessages(
  consoles: Consoles,
  fleet: RequestContext,
  inputs: AsyncIterable<ConsoleInput>,
): AsyncGenerator<ConsoleOutput, void, undefined> {
  try {
    const attached = mapIterator(inputs[Symbol.asyncIterator](), fromMessage);
    for await (const frame of attachConsole(consoles, fleet, attached)) if (hasNews(frame)) yield toMessage(frame);
  } catch (error) {
    throw inMessageFields(error, FIELDS);
  }
}

function fromMessage({ resize, ...input }: ConsoleInput): AttachedInput {
  return { ...input, resize: resize ? { columns: resize.width, rows: resize.height } : null };
}

/** Changes of the session have no place in these messages; its end has. */
function hasNews({ data, session }: ConsoleOutputFrame): boolean {
  return data.length > 0 || session?.ended != null;
}

function toMessage({ data, offset, session }: ConsoleOutputFrame): ConsoleOutput {
  return { data, offset, ended: session?.ended ?? "" };
}
