import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";

/** A TCP proxy that answers slowly: what is too fast to be seen can be watched, and cut off. */
export class SlowProxy implements AsyncDisposable {
  readonly address: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** For each connection; null: as fast as it goes. */
  bytesPerSecond: number | null = null;

  private constructor(server: Server, address: string) {
    this.#server = server;
    this.address = address;
  }

  /** `target` is host:port; it listens on a port of its own. */
  static async start(listenHost: string, target: string): Promise<SlowProxy> {
    const server = createServer().listen(0, listenHost);
    await once(server, "listening");
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("No port.");
    const proxy = new SlowProxy(server, `${listenHost}:${bound.port}`);
    const [host = "", port = ""] = target.split(/:(?=\d+$)/);
    server.on("connection", (client) => proxy.#join(client, connect(Number(port), host)));
    return proxy;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #join(client: Socket, target: Socket): void {
    this.#sockets.add(client);
    client.once("close", () => {
      this.#sockets.delete(client);
      target.destroy();
    });
    client.on("error", () => undefined);
    target.on("error", () => client.destroy());
    client.pipe(target);
    void this.#answer(target, client).catch(() => client.destroy());
  }

  async #answer(target: Socket, client: Socket): Promise<void> {
    const slowly = async function* (this: SlowProxy, chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        yield chunk;
        if (this.bytesPerSecond !== null) await delay((chunk.length / this.bytesPerSecond) * 1000);
      }
    };
    await pipeline(target, slowly.bind(this), client);
  }
}
