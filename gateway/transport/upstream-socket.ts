import { type ExecutionResult, GraphQLError } from "graphql";
import { CloseCode, GRAPHQL_TRANSPORT_WS_PROTOCOL, MessageType, parseMessage, stringifyMessage } from "graphql-ws";
import { type RawData, WebSocket } from "ws";
import { ERROR_TABLE } from "../../platform/errors/codes.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { SubgraphRequest } from "../../platform/subgraph-handler.ts";
import type { GatewayLimits } from "../limits.ts";
import { CONNECTION_LOST, cancelled, unavailable } from "./faults.ts";

const OPERATION_ID = "1";

/**
 * One subscription to a subgraph over graphql-ws, on a socket of its own: so its credentials are its own, ending it is closing the socket,
 * and a reader that is slow holds back the subgraph without holding back anyone else.
 */
export class UpstreamSocket implements AsyncIterableIterator<ExecutionResult> {
  readonly #subgraph: string;
  readonly #request: SubgraphRequest;
  readonly #limits: GatewayLimits;
  readonly #socket: WebSocket;
  readonly #onEnd: () => void;
  readonly #results: ExecutionResult[] = [];
  #reader: PromiseWithResolvers<IteratorResult<ExecutionResult>> | null = null;
  #ended: { error: FleetError | null } | null = null;
  #acknowledged = false;
  /** Since when its reader holds it back. */
  #pausedAt: number | null = null;
  /** For how long its reader has held it back at a time. */
  #longestPauseMs = 0;
  #heard = true;
  #ackTimer: NodeJS.Timeout | null;
  #pingTimer: NodeJS.Timeout | null = null;
  readonly #onAbort = () => this.#end(null);

  constructor(subgraph: string, url: URL, request: SubgraphRequest, limits: GatewayLimits, onEnd: () => void) {
    this.#subgraph = subgraph;
    this.#request = request;
    this.#limits = limits;
    this.#onEnd = onEnd;
    const target = new URL(url);
    target.protocol = target.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(target, GRAPHQL_TRANSPORT_WS_PROTOCOL, {
      maxPayload: limits.answerBytes,
      perMessageDeflate: false,
      followRedirects: false,
    });
    this.#ackTimer = setTimeout(() => this.#lose("did not accept the subscription in time"), limits.upstreamConnectMs);
    this.#socket.on("open", () => this.#open());
    this.#socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    this.#socket.on("pong", () => {
      this.#heard = true;
    });
    this.#socket.on("error", (error) => this.#lose(this.#acknowledged ? "was lost" : "cannot be reached", error));
    this.#socket.on("close", (code) => this.#closed(code));
    if (request.signal?.aborted) this.#end(null);
    else request.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<ExecutionResult>> {
    if (this.#reader) return Promise.reject(new Error("A subscription has one reader, which waits already."));
    const result = this.#results.shift();
    if (result) {
      if (this.#pausedAt !== null && this.#results.length <= this.#limits.upstreamReadAhead / 2) this.#resume();
      return Promise.resolve({ done: false, value: result });
    }
    if (this.#ended) return this.#ended.error ? Promise.reject(this.#ended.error) : Promise.resolve({ done: true, value: undefined });
    this.#reader = Promise.withResolvers();
    return this.#reader.promise;
  }

  async return(): Promise<IteratorResult<ExecutionResult>> {
    this.#results.length = 0;
    this.#end(null);
    return { done: true, value: undefined };
  }

  #open(): void {
    const { authorization, "x-request-id": requestId } = this.#request.headers;
    const payload = { ...(authorization && { authorization }), ...(requestId && { "x-request-id": requestId }) };
    this.#socket.send(stringifyMessage({ type: MessageType.ConnectionInit, payload }));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#ended) return;
    this.#heard = true;
    try {
      if (isBinary) throw new Error("A binary frame.");
      const message = parseMessage(String(data));
      switch (message.type) {
        case MessageType.ConnectionAck:
          this.#subscribe();
          return;
        case MessageType.Ping:
          this.#socket.send(stringifyMessage({ type: MessageType.Pong, ...(message.payload && { payload: message.payload }) }));
          return;
        case MessageType.Pong:
          return;
        case MessageType.Next:
          this.#deliver(message.payload as ExecutionResult);
          return;
        case MessageType.Error:
          this.#deliver({
            errors: message.payload.map(({ message: text, path, extensions }) => new GraphQLError(text, { path, extensions })),
          });
          this.#end(null);
          return;
        case MessageType.Complete:
          this.#end(null);
          return;
        default:
          throw new Error(`An unexpected message of type ${message.type}.`);
      }
    } catch (error) {
      this.#lose("does not speak graphql-transport-ws", error);
    }
  }

  #subscribe(): void {
    if (this.#acknowledged) throw new Error("A second acknowledgement.");
    this.#acknowledged = true;
    if (this.#ackTimer) clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    this.#pingTimer = setInterval(() => this.#ping(), this.#limits.upstreamPingMs);
    const { query, operationName, variables } = this.#request;
    this.#socket.send(
      stringifyMessage({ id: OPERATION_ID, type: MessageType.Subscribe, payload: { query, operationName, variables: variables ?? {} } }),
    );
  }

  #deliver(result: ExecutionResult): void {
    if (this.#reader) {
      const reader = this.#reader;
      this.#reader = null;
      reader.resolve({ done: false, value: result });
      return;
    }
    this.#results.push(result);
    if (this.#pausedAt === null && this.#results.length >= this.#limits.upstreamReadAhead) {
      this.#pausedAt = performance.now();
      this.#socket.pause();
    }
  }

  #resume(): void {
    this.#longestPauseMs = Math.max(this.#longestPauseMs, performance.now() - (this.#pausedAt ?? 0));
    this.#pausedAt = null;
    this.#heard = true;
    this.#socket.resume();
  }

  /** Nothing can be heard while the socket is paused: that is our own doing, and no sign of death. */
  #ping(): void {
    if (this.#pausedAt !== null) return;
    if (!this.#heard) {
      this.#lose("fell silent");
      return;
    }
    this.#heard = false;
    this.#socket.ping();
  }

  #closed(code: number): void {
    if (code === CloseCode.Unauthorized) {
      const expired = this.#acknowledged;
      this.#end(
        new FleetError(expired ? "TOKEN_EXPIRED" : "UNAUTHENTICATED", expired ? "The token has expired." : "The token was not accepted.", {
          details: { subgraph: this.#subgraph },
        }),
      );
      return;
    }
    if (code === CloseCode.Forbidden && !this.#acknowledged) {
      this.#end(new FleetError("FORBIDDEN", "The subscription was refused.", { details: { subgraph: this.#subgraph } }));
      return;
    }
    if (code === ERROR_TABLE.SLOW_CONSUMER.wsClose) {
      this.#end(tooSlow());
      return;
    }
    this.#lose(this.#acknowledged ? "was lost" : "cannot be reached", new Error(`The socket was closed with ${code}.`));
  }

  #lose(why: string, cause?: unknown): void {
    // A subgraph gives up a socket that is not read, also because its pings are not answered: that is our own doing.
    if (this.#longestPauseMs >= this.#limits.upstreamPingMs) {
      this.#end(tooSlow());
      return;
    }
    const reason = this.#acknowledged ? CONNECTION_LOST : undefined;
    this.#end(this.#request.signal?.aborted ? cancelled() : unavailable(this.#subgraph, why, cause, reason));
  }

  /** What was received before the end is still read. */
  #end(error: FleetError | null): void {
    if (this.#ended) return;
    this.#ended = { error };
    if (this.#ackTimer) clearTimeout(this.#ackTimer);
    if (this.#pingTimer) clearInterval(this.#pingTimer);
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    this.#hangUp();
    this.#onEnd();
    const reader = this.#reader;
    this.#reader = null;
    if (!reader) return;
    if (error) reader.reject(error);
    else reader.resolve({ done: true, value: undefined });
  }

  /** Asks the subgraph to close, and does not wait for long: a peer that does not answer is cut. */
  #hangUp(): void {
    if (this.#socket.readyState === WebSocket.CONNECTING || this.#pausedAt !== null) {
      this.#socket.terminate();
      return;
    }
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.close(1000);
    setTimeout(() => this.#socket.terminate(), 1_000).unref();
  }
}

function tooSlow(): FleetError {
  return new FleetError("SLOW_CONSUMER", "What the subscription brings is not read fast enough.");
}
