import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NodeNamesDocument, UpdateNodeDocument } from "../../schema/generated/operations/graphql.ts";
import { FLEETGRAPH } from "../support/built-program.ts";
import { type Complaints, launchChromium, watchedContext } from "../support/headless-chromium.ts";
import { freePorts, Part } from "../support/part.ts";
import { describeWithPeers } from "../support/peers.ts";
import { execute } from "../support/typed-client.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
/** With SCREENSHOT=true the page is kept as it looks after the live event; the README shows it. */
const SCREENSHOT = process.env.SCREENSHOT === "true" ? fileURLToPath(new URL("../../docs/graphiql.png", import.meta.url)) : null;
const WAIT_MS = 30_000;

describeWithPeers("GraphiQL in a browser", "chromium", () => {
  let directory: string;
  let fleetgraph: Part;
  let url: string;
  let link: string;
  let browser: Browser;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-graphiql-"));
    const [port, grpcPort, agentPort, controlPort] = await freePorts(4);
    url = `http://127.0.0.1:${port}`;
    const ports = ["--port", `${port}`, "--grpc-port", `${grpcPort}`, "--agent-port", `${agentPort}`, "--control-port", `${controlPort}`];
    fleetgraph = new Part({
      name: "up",
      args: ["up", "--data", join(directory, "data"), ...ports],
      logDirectory: directory,
      ready: async () => (await fetch(`${url}/readyz`)).ok,
    });
    await fleetgraph.start();
    link = await printedLink();
    browser = await launchChromium();
  });

  afterAll(async () => {
    await browser?.close();
    await fleetgraph?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function printedLink(): Promise<string> {
    let found: string | undefined;
    await until(() => {
      found = /http:\/\/\S+\/#code=\S+/.exec(readFileSync(join(directory, "up.log"), "utf8"))?.[0];
      return found !== undefined;
    }, "the printed link");
    return found as string;
  }

  test("the printed link signs in, a query spans two subgraphs, and a live event arrives", async () => {
    const { context, complaints } = await watchedContext(browser, url);
    const page = await context.newPage();
    await page.goto(link);
    await page.locator("[data-signed-in=admin]").waitFor({ timeout: WAIT_MS });
    expect(page.url()).toBe(`${url}/`);

    await press(page, "Nodes");
    await untilResponse(page, /"hostname": "[^"]+"/);
    await untilResponse(page, /"totalBytes": \d{6,}/);

    await press(page, "NodeEvents");
    await untilResponse(page, /"type": "BOOKMARK"/);
    const token = await page.evaluate(() => sessionStorage.getItem("fleetgraph.token") ?? "");
    const { nodes } = await execute(url, token, NodeNamesDocument, {});
    const nodeId = nodes.nodes[0]?.id ?? "";
    await execute(url, token, UpdateNodeDocument, { input: { nodeId, labels: [{ key: "rack", value: "a1" }] } });
    await untilResponse(page, /"type": "MODIFIED".*"key": "rack".*"value": "a1"/s);
    if (SCREENSHOT !== null) await page.screenshot({ path: SCREENSHOT });

    expectNothingOf(complaints);
    await context.close();
  });

  test("every example in the first tabs is valid for the schema", async () => {
    const { context, complaints } = await watchedContext(browser, url);
    const page = await context.newPage();
    await page.goto(url);
    await signIn(page, await newToken("viewer"));
    await press(page, "ClusterInfo");
    await untilResponse(page, /"totalNodes": 1/);
    await press(page, "LabelNode");
    await untilResponse(page, /"FORBIDDEN"/);
    expectNothingOf(complaints);
    await context.close();
  });

  test("without a token the page says how to get one, and a pasted one is enough", async () => {
    const { context } = await watchedContext(browser, url);
    const page = await context.newPage();
    await page.goto(url);
    await page.getByText("You are not signed in.").waitFor({ timeout: WAIT_MS });
    await press(page, "Nodes");
    await untilResponse(page, /"UNAUTHENTICATED"/);
    await signIn(page, "nonsense");
    await page.getByText("That is not a token").waitFor();
    await signIn(page, await newToken("viewer"));
    await page.locator("[data-signed-in=viewer]").waitFor();
    await press(page, "Nodes");
    await untilResponse(page, /"hostname"/);
    await context.close();
  });

  test("a link that was used signs nobody in and says so", async () => {
    const { context, complaints } = await watchedContext(browser, url);
    const page = await context.newPage();
    await page.goto(link);
    await page.getByText("used already").waitFor({ timeout: WAIT_MS });
    expect(page.url()).toBe(`${url}/`);
    expect(complaints.foreign).toEqual([]);
    await context.close();
  });

  async function newToken(role: string): Promise<string> {
    const { stdout } = await run(process.execPath, [FLEETGRAPH, "token", "--role", role, "--data", join(directory, "data")]);
    return stdout.trim();
  }
});

async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Opens the tab and presses the button, once GraphiQL is ready for it. */
async function press(page: Page, tab: string): Promise<void> {
  await page.locator(".graphiql-tabs").getByText(tab, { exact: true }).click({ timeout: WAIT_MS });
  // What is run before the other tab is open is shown in neither.
  await page.locator(".graphiql-tab-active").getByText(tab, { exact: true }).waitFor({ timeout: WAIT_MS });
  // Before both editors are there, GraphiQL runs nothing.
  await page.locator(".graphiql-query-editor .view-line").filter({ hasText: tab }).first().waitFor({ timeout: WAIT_MS });
  await page.locator(".graphiql-response .monaco-editor").waitFor({ timeout: WAIT_MS });
  await page.getByRole("button", { name: /^Execute query/ }).click({ timeout: WAIT_MS });
}

async function untilResponse(page: Page, pattern: RegExp): Promise<void> {
  let shown = "";
  const holds = async () => {
    const lines = await page.locator(".graphiql-response .view-line").allInnerTexts();
    shown = lines.join("\n").replaceAll("\u00a0", " ");
    return pattern.test(shown);
  };
  await until(holds, `${pattern} in the response`, WAIT_MS).catch((error: Error) => {
    throw new Error(`${error.message} It shows:\n${shown}`);
  });
}

function expectNothingOf({ foreign, errors }: Complaints): void {
  expect(foreign).toEqual([]);
  expect(errors).toEqual([]);
}
