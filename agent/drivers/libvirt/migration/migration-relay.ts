import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { CarryConnection, MigrationChannel } from "../../migration-driver.ts";
import { giveTo, type QemuUser, socketPath } from "./socket-directory.ts";

/** Disks have a connection each, and one more now and then. */
const MAX_CONNECTIONS = 64;

/** Listens where the source's libvirt and QEMU connect, and has each connection carried to the destination. */
export class MigrationRelay {
  readonly #carry: CarryConnection;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #carried = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #failure: Error | null = null;

  private constructor(carry: CarryConnection) {
    this.#carry = carry;
  }

  static async listen(directory: string, channels: readonly MigrationChannel[], qemu: QemuUser, carry: CarryConnection) {
    const relay = new MigrationRelay(carry);
    try {
      for (const channel of channels) await relay.#listen(socketPath(directory, channel), channel, qemu);
    } catch (error) {
      await relay.close();
      throw error;
    }
    return relay;
  }

  /** Why a connection broke, the first that did; null while none has. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Resolves when all that the source has sent is with the destination, or lost. */
  async drained(): Promise<void> {
    while (this.#carried.size > 0) await Promise.all(this.#carried);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    await this.drained();
  }

  async #listen(path: string, channel: MigrationChannel, qemu: QemuUser): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket, channel));
    this.#servers.push(server);
    server.maxConnections = MAX_CONNECTIONS;
    server.listen(path);
    await once(server, "listening");
    await giveTo(path, qemu);
  }

  #accept(socket: Socket, channel: MigrationChannel): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    const carried = this.#carry(channel, socket, this.#closing.signal)
      .catch((error: Error) => {
        if (!this.#closing.signal.aborted) this.#failure ??= error;
      })
      .finally(() => {
        socket.destroy();
        this.#sockets.delete(socket);
        this.#carried.delete(carried);
      });
    this.#carried.add(carried);
  }
}
