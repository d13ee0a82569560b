import type { Duplex } from "node:stream";
import { CloseCode, MessageType, parseMessage, type SubscribePayload } from "graphql-ws";
import type { WebSocket } from "ws";
import { ERROR_TABLE, isErrorCode } from "../../platform/errors/codes.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { requestIdFrom } from "../../platform/request-context.ts";
import { codeLabel } from "../metrics.ts";
import type { EventSink } from "../subscriptions/event-sink.ts";
import { StreamEnd } from "../subscriptions/stream-end.ts";
import { authenticate, type Caller } from "./authentication.ts";
import { ClientOperation, type OperationServices } from "./client-operation.ts";
import { SocketOutput } from "./socket-output.ts";

/** What the upgrade request said. */
export interface UpgradeHeaders {
  readonly authorization: string | undefined;
  readonly requestId: string;
}

/** The longest delay that a timer takes; further away is looked at again. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Of a close frame, in bytes. */
const LONGEST_REASON = 120;

/**
 * One client's socket: the server's side of graphql-transport-ws. The messages and close codes are graphql-ws's own; the state is kept here
 * because events are not objects to be serialised per client but text that all who share it get, at the pace of each one's socket.
 */
export class ClientConnection {
  readonly #socket: WebSocket;
  readonly #output: SocketOutput;
  readonly #services: OperationServices;
  readonly #upgrade: UpgradeHeaders;
  readonly #operations = new Map<string, ClientOperation>();
  #caller: Caller | null = null;
  #initialised = false;
  #closing = false;
  #requestId: string;
  #started = 0;
  #initTimer: NodeJS.Timeout | null;
  #expiryTimer: NodeJS.Timeout | null = null;
  #cutTimer: NodeJS.Timeout | null = null;

  constructor(socket: WebSocket, stream: Duplex, upgrade: UpgradeHeaders, services: OperationServices) {
    this.#socket = socket;
    this.#services = services;
    this.#upgrade = upgrade;
    this.#requestId = upgrade.requestId;
    this.#output = new SocketOutput(socket, stream, services.limits.socketBufferBytes, () => this.#onWritable());
    this.#initTimer = setTimeout(
      () => this.#close(CloseCode.ConnectionInitialisationTimeout, "Connection initialisation timeout"),
      services.limits.initMs,
    );
    socket.on("message", (data, isBinary) => this.#receive(isBinary ? null : String(data)));
    socket.on("error", (error) => services.log.debug({ err: error, requestId: this.#requestId }, "a client's socket failed"));
    socket.on("close", () => this.#closed());
  }

  /** Ends every operation for one reason, then closes the socket once that has been sent. */
  end(reason: StreamEnd): void {
    for (const operation of [...this.#operations.values()]) operation.end(reason);
    const code = isErrorCode(reason.code) ? ERROR_TABLE[reason.code].wsClose : null;
    this.#close(code ?? CloseCode.InternalServerError, reason.code);
  }

  #receive(text: string | null): void {
    if (this.#closing) return;
    let message: ReturnType<typeof parseMessage>;
    try {
      if (text === null) throw new Error("A binary frame.");
      message = parseMessage(text);
    } catch {
      this.#close(CloseCode.BadRequest, "Invalid message received");
      return;
    }
    switch (message.type) {
      case MessageType.ConnectionInit:
        if (this.#initialised) {
          this.#close(CloseCode.TooManyInitialisationRequests, "Too many initialisation requests");
          return;
        }
        this.#initialised = true;
        return void this.#initialise(message.payload ?? {});
      case MessageType.Ping:
        this.#send({ type: MessageType.Pong, ...(message.payload && { payload: message.payload }) });
        return;
      case MessageType.Pong:
        return;
      case MessageType.Subscribe:
        this.#subscribe(message.id, message.payload);
        return;
      case MessageType.Complete:
        this.#operations.get(message.id)?.close();
        return;
      default:
        this.#close(CloseCode.BadRequest, `Unexpected message of type ${message.type}`);
        return;
    }
  }

  /** The token may come in the payload, where a browser can put it, or in a header of the upgrade. */
  async #initialise(payload: Readonly<Record<string, unknown>>): Promise<void> {
    const given = payload.authorization ?? payload.Authorization;
    const sentId = payload["x-request-id"];
    if (typeof sentId === "string") this.#requestId = requestIdFrom(sentId);
    try {
      const caller = await authenticate(this.#services.verifier, typeof given === "string" ? given : this.#upgrade.authorization);
      if (this.#closing) return;
      if (this.#initTimer) clearTimeout(this.#initTimer);
      this.#caller = caller;
      this.#watchExpiry(caller.expiresAt);
      this.#send({ type: MessageType.ConnectionAck, payload: { "x-request-id": this.#requestId } });
    } catch (error) {
      const { code, message } = FleetError.from(error);
      this.#close(ERROR_TABLE[code].wsClose ?? TRY_AGAIN_LATER, `${code}: ${message}`);
    }
  }

  #subscribe(id: string, payload: SubscribePayload): void {
    const caller = this.#caller;
    if (!caller) {
      this.#close(CloseCode.Unauthorized, "Unauthorized");
      return;
    }
    if (this.#operations.has(id)) {
      this.#close(CloseCode.SubscriberAlreadyExists, "An operation with this id is running");
      return;
    }
    const { operationsPerSocket } = this.#services.limits;
    if (this.#operations.size >= operationsPerSocket) {
      const fault = new FleetError("RESOURCE_EXHAUSTED", `At most ${operationsPerSocket} operations run on one socket.`, {
        reason: "TooManyOperations",
        details: { limit: operationsPerSocket },
      });
      this.#send({ id, type: MessageType.Error, payload: StreamEnd.from(fault).errors });
      return;
    }
    this.#started += 1;
    const requestId = `${this.#requestId.slice(0, 100)}.${this.#started}`;
    const operation: ClientOperation = new ClientOperation(payload, { ...caller, requestId }, this.#sinkFor(id), this.#services, () => {
      if (this.#operations.get(id) === operation) this.#operations.delete(id);
    });
    this.#operations.set(id, operation);
    operation.start();
  }

  /** The envelope with the client's own id is made once; an event's payload is text already. */
  #sinkFor(id: string): EventSink {
    const output = this.#output;
    const envelope = `{"id":${JSON.stringify(id)},"type":"next","payload":`;
    const connection = this;
    return {
      get writable() {
        return output.writable;
      },
      next(payload) {
        if (output.overflowing) connection.#cut(StreamEnd.from(new FleetError("SLOW_CONSUMER", "The client does not read its answers.")));
        else output.send(`${envelope}${payload}}`);
      },
      end(end) {
        connection.#send(end ? { id, type: MessageType.Error, payload: end.errors } : { id, type: MessageType.Complete });
        if (end) connection.#account(id, end);
        if (end?.code === "SLOW_CONSUMER") connection.#cut(end);
      },
    };
  }

  /** What was masked for the client is in the log, under the id that the client knows. */
  #account(id: string, end: StreamEnd): void {
    const { log, metrics } = this.#services;
    metrics.errors.inc({ code: codeLabel(end.code) });
    if (end.code === "INTERNAL") log.error({ err: end.cause ?? end, requestId: this.#requestId, operation: id }, "an operation failed");
  }

  #watchExpiry(expiresAt: number): void {
    const left = expiresAt - Date.now();
    if (left <= 0) {
      this.end(StreamEnd.from(new FleetError("TOKEN_EXPIRED", "The token has expired: connect again with a new one.")));
      return;
    }
    if (Number.isFinite(left)) this.#expiryTimer = setTimeout(() => this.#watchExpiry(expiresAt), Math.min(left, LONGEST_TIMER_MS));
  }

  /** The client does not read: it is told, and cut off if that does not reach it either. */
  #cut(reason: StreamEnd): void {
    if (this.#cutTimer) return;
    this.#cutTimer = setTimeout(() => this.#socket.terminate(), this.#services.limits.cutMs);
    this.end(reason);
  }

  #send(message: unknown): void {
    this.#output.send(JSON.stringify(message));
  }

  #onWritable(): void {
    for (const operation of [...this.#operations.values()]) operation.onWritable();
  }

  #close(code: number, reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    for (const operation of [...this.#operations.values()]) operation.close();
    this.#socket.close(code, reason.slice(0, LONGEST_REASON));
  }

  #closed(): void {
    this.#closing = true;
    for (const timer of [this.#initTimer, this.#expiryTimer, this.#cutTimer]) if (timer) clearTimeout(timer);
    for (const operation of [...this.#operations.values()]) operation.close();
  }
}

/** Close code 1013: the server cannot check the token now. */
const TRY_AGAIN_LATER = 1013;
