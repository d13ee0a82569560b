import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";

/** dist/graphiql, also for a gateway that runs from its sources. */
const BUNDLE = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "../../dist/graphiql" : "../../graphiql", import.meta.url));

const TYPES: Record<string, string> = {
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".ttf": "font/ttf",
  ".woff2": "font/woff2",
};

/**
 * The page may load from, and talk to, its own origin alone. Monaco writes style elements, and its fonts are partly in its style sheet.
 * A WebSocket to the page's own host counts as 'self'.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "font-src 'self' data:",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const GUARDS = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
};

/** Shown while the bundle is being made beside a server that is up already; a reload keeps the fragment with the sign-in code. */
const NOT_BUILT = `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>Fleetgraph</title>
<p style="margin:2rem;font-family:system-ui,sans-serif">GraphiQL is being built, this page comes back by itself. If it does not: <code>npm run build</code>.
The graph is served at <code>/graphql</code> all the same.</p>
`;

/** Answers requests for the page and its assets, and says whether this was one. Anybody may read them: they hold no data. */
export function serveGraphiql(request: IncomingMessage, response: ServerResponse, bundle: string = BUNDLE): boolean {
  if (request.method !== "GET" && request.method !== "HEAD") return false;
  const path = (request.url ?? "/").split("?", 1)[0] as string;
  // A browser that is pointed at the graph's own address gets the page as well: the server passes on what asks for HTML.
  if (path === "/" || path === "/graphql") {
    servePage(request, response, bundle);
    return true;
  }
  const name = /^\/assets\/(\w[\w.-]*)$/.exec(path)?.[1];
  const type = name === undefined ? undefined : TYPES[extname(name)];
  if (name === undefined || type === undefined) return false;
  return serveAsset(request, response, join(bundle, "assets", name), type);
}

function servePage(request: IncomingMessage, response: ServerResponse, bundle: string): void {
  const file = join(bundle, "index.html");
  const built = existsSync(file);
  const body = built ? readFileSync(file) : Buffer.from(NOT_BUILT);
  response.writeHead(built ? 200 : 503, {
    ...GUARDS,
    "content-type": "text/html; charset=utf-8",
    "content-length": body.length,
    "cache-control": "no-store",
    "content-security-policy": POLICY,
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

/** The names hold a hash of the content, so that a browser keeps them for good. */
function serveAsset(request: IncomingMessage, response: ServerResponse, file: string, type: string): boolean {
  const gzipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? "")) && existsSync(`${file}.gz`);
  const served = gzipped ? `${file}.gz` : file;
  const size = statSync(served, { throwIfNoEntry: false })?.size;
  if (size === undefined) return false;
  response.writeHead(200, {
    ...GUARDS,
    "content-type": type,
    "content-length": size,
    "cache-control": "public, max-age=31536000, immutable",
    vary: "accept-encoding",
    ...(gzipped ? { "content-encoding": "gzip" } : {}),
    // A worker takes the policy of its own script's answer.
    "content-security-policy": POLICY,
  });
  if (request.method === "HEAD") response.end();
  // Errors are the client going away, or the file while it is replaced: both end the connection.
  else pipeline(createReadStream(served), response, () => {});
  return true;
}
