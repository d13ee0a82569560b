import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";

export interface TestUser {
  user: string;
  groups?: string[];
}

const MAX_REVIEW_BYTES = 1024 * 1024;

/** Whom a token belongs to, for an API server that asks by webhook (TokenReview): tokens are made and revoked while it runs. */
export class TestTokens implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #users = new Map<string, TestUser>();

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(address: string): Promise<TestTokens> {
    const server = createServer().listen(0, address);
    await once(server, "listening");
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("No port.");
    const tokens = new TestTokens(server, `http://${address}:${bound.port}`);
    server.on("request", (request, response) => {
      tokens.#review(request).then(
        (review) => response.setHeader("content-type", "application/json").end(JSON.stringify(review)),
        (error: Error) => response.writeHead(400).end(error.message),
      );
    });
    return tokens;
  }

  issue(user: TestUser): string {
    const token = randomBytes(24).toString("base64url");
    this.#users.set(token, user);
    return token;
  }

  revoke(token: string): void {
    this.#users.delete(token);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #review(request: IncomingMessage): Promise<object> {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) {
      text += chunk;
      if (text.length > MAX_REVIEW_BYTES) throw new Error("The review is too large.");
    }
    const { apiVersion, kind, spec } = JSON.parse(text) as { apiVersion: string; kind: string; spec: { token: string } };
    const found = this.#users.get(spec.token);
    const status =
      found === undefined
        ? { authenticated: false }
        : {
            authenticated: true,
            user: { username: found.user, uid: found.user, groups: ["system:authenticated", ...(found.groups ?? [])] },
          };
    return { apiVersion, kind, status };
  }
}
