import { service as healthDefinition } from "grpc-health-check";
import type { CallContext, Server, ServiceImplementation } from "nice-grpc";
import { ServerError, Status } from "nice-grpc";

type ServingStatus = "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";
type Request = { service: string };
type Response = { status: ServingStatus };

/** grpc.health.v1, without credentials: probes have none. */
export class HealthService {
  readonly #statuses = new Map<string, ServingStatus>();
  readonly #watches = new Set<() => void>();

  addTo(server: Server, services: readonly string[]): void {
    for (const service of ["", ...services]) if (!this.#statuses.has(service)) this.#statuses.set(service, "SERVING");
    server.add(healthDefinition, {
      Check: async ({ service }: Request): Promise<Response> => {
        const status = this.#statuses.get(service);
        if (status === undefined) throw new ServerError(Status.NOT_FOUND, "The server has no such service.");
        return { status };
      },
      List: async () => ({ statuses: Object.fromEntries([...this.#statuses].map(([service, status]) => [service, { status }])) }),
      Watch: ({ service }: Request, { signal }: CallContext) => this.#watch(service, signal),
    } as unknown as ServiceImplementation<typeof healthDefinition>);
  }

  set(service: string, serving: boolean): void {
    this.#statuses.set(service, serving ? "SERVING" : "NOT_SERVING");
    for (const wake of this.#watches) wake();
  }

  /** Nothing serves any more, and watches end after they have said so. */
  stop(): void {
    for (const service of this.#statuses.keys()) this.#statuses.set(service, "NOT_SERVING");
    this.#stopped = true;
    for (const wake of this.#watches) wake();
  }

  #stopped = false;

  /** The status now and whenever it changed; a slow reader gets the latest. */
  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<Response> {
    let sent: ServingStatus | null = null;
    while (!signal.aborted) {
      const status = this.#statuses.get(service) ?? "SERVICE_UNKNOWN";
      if (status !== sent) yield { status };
      sent = status;
      if (this.#stopped) return;
      if (status === (this.#statuses.get(service) ?? "SERVICE_UNKNOWN")) await this.#change(signal);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#watches.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#watches.add(done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }
}
