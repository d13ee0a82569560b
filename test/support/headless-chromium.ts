import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { CHROMIUM } from "./peer-addresses.ts";

/** No sandbox, because tests may run as root; nothing that calls home. */
const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/** What a page did that it should not have. */
export interface Complaints {
  /** Requests and WebSockets that left the origin. */
  foreign: string[];
  /** Errors on the console or thrown, such as refusals by the content security policy. */
  errors: string[];
}

/** A browser without history, whose pages are watched. */
export async function watchedContext(browser: Browser, origin: string): Promise<{ context: BrowserContext; complaints: Complaints }> {
  const complaints: Complaints = { foreign: [], errors: [] };
  const context = await browser.newContext({ viewport: { width: 1360, height: 820 } });
  const host = new URL(origin).host;
  const note = (url: string) => {
    if (!/^(data|blob):/.test(url) && new URL(url).host !== host) complaints.foreign.push(url);
  };
  context.on("request", (request) => note(request.url()));
  context.on("page", (page) => {
    page.on("websocket", (socket) => note(socket.url()));
    page.on("pageerror", (error) => complaints.errors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.errors.push(message.text());
    });
  });
  return { context, complaints };
}
