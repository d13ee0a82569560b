import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { MAX_INPUT_BYTES } from "./console-input.ts";
import type { ConsoleOutputFrame, ConsoleSessionView, TerminalSize } from "./console-types.ts";
import type { Consoles } from "./consoles.ts";

/** One message of a client that is attached. */
export interface AttachedInput {
  /** Of the first; later ones may leave it out. */
  instanceId: string;
  data: Buffer;
  resize: TerminalSize | null;
  takeOver: boolean;
  /** First what was put out before and is kept. */
  scrollback: boolean;
  readOnly: boolean;
}

/** Until the first message, which says what to attach to, must have come. */
const FIRST_MESSAGE_MS = 10_000;

/**
 * A client at an instance's console, both ways on one call. Ends with the session, or throws: what the client did wrong, NotTheWriter as soon
 * as somebody else types, what became of the agent, and the context's own end. A client that closes its side only types no more.
 */
export async function* attachConsole(
  consoles: Consoles,
  ctx: RequestContext,
  inputs: AsyncIterable<AttachedInput>,
): AsyncGenerator<ConsoleOutputFrame, void, undefined> {
  const messages = inputs[Symbol.asyncIterator]();
  const first = await firstOf(messages, ctx.signal);
  const { session, writable } = await consoles.open(ctx, first.instanceId, {
    ...first.resize,
    takeOver: first.takeOver,
    readOnly: first.readOnly,
  });
  if (!writable && !first.readOnly) throw notTheWriter(session);
  const frames = consoles.follow(ctx, session.id, first.scrollback ? null : session.nextOffset);
  let failure: unknown = null;
  // Not waited for: the client's messages end with the call.
  void type(consoles, ctx, session, first, messages).catch(async (error: unknown) => {
    // A session that is over says how by its last frame.
    const { code, reason } = FleetError.from(error);
    if (code === "NOT_FOUND" || reason === "ConsoleEnded") return;
    failure = error;
    await frames.return();
  });
  // Leaving the loop ends the stream.
  for await (const frame of frames) yield frame;
  if (failure !== null) throw failure;
}

async function firstOf(messages: AsyncIterator<AttachedInput>, signal: AbortSignal): Promise<AttachedInput> {
  const late = Promise.withResolvers<never>();
  const refuse = () => late.reject(new FleetError("DEADLINE_EXCEEDED", "The first message, which names the instance, did not come."));
  const timer = setTimeout(refuse, FIRST_MESSAGE_MS);
  const onAbort = () => late.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const { done, value } = await Promise.race([messages.next(), late.promise]);
    if (done === true || value.instanceId === "") throw invalidArgument("instanceId", "The first message names the instance.");
    return value;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** Types what the client sends, one message after the other, until it closes its side. */
async function type(
  consoles: Consoles,
  ctx: RequestContext,
  session: ConsoleSessionView,
  first: AttachedInput,
  messages: AsyncIterator<AttachedInput>,
): Promise<void> {
  const { id: sessionId, instanceId } = session;
  // The size of the first message went along with the opening.
  let message: AttachedInput = { ...first, resize: null };
  for (;;) {
    if (message.instanceId !== "" && message.instanceId !== instanceId) {
      throw invalidArgument("instanceId", "A call is attached to one instance: make another call for this one.");
    }
    if (first.readOnly && (message.data.length > 0 || message.resize !== null)) {
      throw invalidArgument("readOnly", "Who attached to read only neither types nor resizes.");
    }
    if (message.resize !== null) await consoles.resize(ctx, { sessionId, ...message.resize });
    for (let at = 0; at < message.data.length; at += MAX_INPUT_BYTES) {
      await consoles.write(ctx, { sessionId, data: message.data.subarray(at, at + MAX_INPUT_BYTES) });
    }
    const { done, value } = await messages.next();
    if (done === true) return;
    message = value;
  }
}

function notTheWriter({ writer }: ConsoleSessionView): FleetError {
  return new FleetError("FAILED_PRECONDITION", "Somebody else types at this console: take it over, or attach to read only.", {
    reason: "NotTheWriter",
    details: { writer: writer ?? "" },
  });
}
