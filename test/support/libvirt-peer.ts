import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LibvirtConnection } from "../../agent/libvirt/connection.ts";
import { encodeFrame, type FrameHeader, MESSAGE, STATUS } from "../../agent/libvirt/protocol/frame.ts";
import { type ProcedureName, procedureNamed } from "../../agent/libvirt/protocol/table.ts";
import type { XdrWriter } from "../../agent/libvirt/protocol/xdr.ts";
import { openUnixSocket } from "../../agent/libvirt/transport/unix-socket.ts";

/** A message that the client sent. */
export interface PeerMessage extends FrameHeader {
  readonly body: Buffer;
}

/** The other side of one connection. */
export class PeerConnection {
  readonly socket: Socket;
  /** Resolves when the client has closed its side. */
  readonly closed: Promise<unknown>;
  /** What came and was not taken by `next`. */
  readonly #messages: PeerMessage[] = [];
  #received = Buffer.alloc(0);
  readonly #waiters: PromiseWithResolvers<PeerMessage>[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      while (this.#received.length >= 4 && this.#received.length >= this.#received.readUInt32BE(0)) this.#cut();
    });
  }

  /** The client's next message. */
  next(): Promise<PeerMessage> {
    const message = this.#messages.shift();
    if (message) return Promise.resolve(message);
    const waiter = Promise.withResolvers<PeerMessage>();
    this.#waiters.push(waiter);
    return waiter.promise;
  }

  get waiting(): number {
    return this.#messages.length;
  }

  send(header: FrameHeader, writeBody?: (writer: XdrWriter) => void): void {
    this.socket.write(encodeFrame(header, writeBody));
  }

  /** Answers a call as the table says that it is answered. */
  reply(call: PeerMessage, name: ProcedureName, result: unknown): void {
    this.send(replyTo(call), (writer) => procedureNamed(name).result.write(writer, result));
  }

  #cut(): void {
    const length = this.#received.readUInt32BE(0);
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    const [procedure, type, serial, status] = [12, 16, 20, 24].map((at) => bytes.readUInt32BE(at)) as [number, number, number, number];
    const program = bytes.readUInt32BE(4) === 0x6b65_6570 ? "keepalive" : "remote";
    const message: PeerMessage = { program, procedure, type, serial, status, body: bytes.subarray(28) };
    const waiter = this.#waiters.shift();
    if (waiter) waiter.resolve(message);
    else this.#messages.push(message);
  }
}

export function replyTo(call: PeerMessage): FrameHeader {
  const { program, procedure, serial } = call;
  return { program, procedure, serial, type: MESSAGE.REPLY, status: STATUS.OK };
}

/** A daemon on a real socket that says whatever the test wants it to say. What a real one says: test/support/libvirt-daemon.ts. */
export class LibvirtPeer {
  readonly socketPath: string;
  readonly #directory: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), "fg-libvirt-peer-"));
    this.socketPath = join(this.#directory, "sock");
    this.#server = createServer((socket) => this.#sockets.add(socket));
  }

  static async start(): Promise<LibvirtPeer> {
    const peer = new LibvirtPeer();
    peer.#server.listen(peer.socketPath);
    await once(peer.#server, "listening");
    return peer;
  }

  /** The other side of the next connection. */
  async accept(): Promise<PeerConnection> {
    const [socket] = (await once(this.#server, "connection")) as [Socket];
    return new PeerConnection(socket);
  }

  /** Both sides of a new connection. One at a time. */
  async connect(onEvent?: (procedure: number) => void): Promise<{ client: LibvirtConnection; peer: PeerConnection }> {
    const accepted = this.accept();
    const transport = await openUnixSocket([this.socketPath], AbortSignal.timeout(5000));
    const client = new LibvirtConnection(transport, { callTimeoutMs: 10_000, onEvent: ({ procedure }) => onEvent?.(procedure) });
    return { client, peer: await accepted };
  }

  /** Ends every connection. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.hangUp();
    this.#server.close();
    await once(this.#server, "close");
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
