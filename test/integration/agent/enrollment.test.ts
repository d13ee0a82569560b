import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createServer } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CertificateAuthority } from "../../../platform/tls/certificate-authority.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

let plane: AgentControlPlane;
let home: TestAgentHome;

beforeEach(async () => {
  plane = await AgentControlPlane.start();
  home = await TestAgentHome.create();
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
  await plane[Symbol.asyncDispose]();
});

describe("an agent that joins", () => {
  it("gets a certificate for its own key, keeps it to itself and registers", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    expect(plane.owners.get(agent.nodeIds[0]!)).toBe(agent.agentId);
    expect((await stat(home.stateDir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(home.stateDir, "agent.pem"))).mode & 0o777).toBe(0o600);
    expect((await readdir(home.stateDir)).sort()).toEqual(["agent.lock", "agent.pem", "ca-certificate.pem", "instances", "state.json"]);
  });

  it("is the same agent and the same node after a restart, without a token, and under another hostname", async () => {
    const first = await home.start({ joinToken: plane.createToken() });
    await first.stop();
    const second = await home.start();
    expect([second.agentId, second.nodeIds]).toEqual([first.agentId, first.nodeIds]);
    await until(() => plane.registrations.length === 2);
    await second.stop();
    const third = await home.start({ hostname: "renamed" });
    expect(third.nodeIds).toEqual(first.nodeIds);
    await until(() => plane.registrations.length === 3);
    expect(plane.registrations.map(({ nodeId }) => nodeId)).toEqual(["", ...first.nodeIds, ...first.nodeIds]);
    expect(plane.joins).toHaveLength(1);
  });

  it("ignores a used token that is given again, and asks for one only when it is needed", async () => {
    const joinToken = plane.createToken();
    const first = await home.start({ joinToken });
    await first.stop();
    const second = await home.start({ joinToken });
    await second.stop();
    const third = await home.start({ joinToken: () => Promise.reject(new Error("not needed")) });
    expect(third.agentId).toBe(first.agentId);
  });

  it("keeps its identity when the answer to its join is lost", async () => {
    let answers = 0;
    plane.beforeJoinAnswer = async () => {
      answers += 1;
      if (answers === 1) await plane.unlisten();
    };
    const starting = home.start({ joinToken: plane.createToken() });
    await until(() => answers === 1);
    plane.beforeJoinAnswer = async () => undefined;
    await until(async () =>
      plane.listen().then(
        () => true,
        () => false,
      ),
    );
    const agent = await starting;
    expect(plane.joins).toHaveLength(2);
    expect([...plane.owners.values()]).toEqual([agent.agentId]);
  });

  it("waits for a control plane that is not there yet", async () => {
    const joinToken = plane.createToken();
    await plane.unlisten();
    const starting = home.start({ joinToken });
    await expect(Promise.race([starting, new Promise((resolve) => setTimeout(resolve, 300, "waiting"))])).resolves.toBe("waiting");
    await plane.listen();
    expect((await starting).nodeIds).toHaveLength(1);
  });

  it("stops waiting when it is told to", async () => {
    const joinToken = plane.createToken();
    await plane.unlisten();
    const stopping = new AbortController();
    const starting = home.start({ joinToken, signal: stopping.signal });
    setTimeout(() => stopping.abort(), 200);
    await expect(starting).rejects.toThrow();
    expect(await readdir(home.stateDir)).not.toContain("agent.lock");
  });
});

describe("an agent does not join", () => {
  it("with a token that was used, has expired, or is unknown", async () => {
    const used = plane.createToken();
    await using other = await TestAgentHome.create();
    await other.start({ joinToken: used });
    await expect(home.start({ joinToken: used })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "JoinTokenUsed" });
    const expired = plane.createToken({ ttlMs: -1 });
    await expect(home.start({ joinToken: expired })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "JoinTokenExpired" });
    await using elsewhere = await AgentControlPlane.start();
    const unknown = elsewhere.createToken({ caFingerprint: plane.ca.fingerprint, address: plane.address });
    await expect(home.start({ joinToken: unknown })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "JoinTokenUnknown" });
  });

  it("without a token", async () => {
    await expect(home.start({ controlPlane: plane.address })).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NotJoined" });
  });

  it("where the CA is another than the token's: the secret stays here", async () => {
    const joinToken = plane.createToken({ caFingerprint: "0".repeat(64) });
    await expect(home.start({ joinToken })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "CaMismatch" });
    expect(plane.joins).toEqual([]);
  });

  it("where somebody shows the pinned CA beside a certificate that it did not sign, and sends them nothing", async () => {
    await using foreign = await AgentControlPlane.start();
    const pair = await foreign.ca.issueControl("clusters", ["127.0.0.1"]);
    const received = await connectTo({ ...pair, caPem: plane.ca.certificatePem }, (address) =>
      expect(home.start({ joinToken: plane.createToken({ address }) })).rejects.toMatchObject({ reason: "CaMismatch" }),
    );
    expect(received).toBe(0);
  });

  it("where another agent of the same CA passes for the control plane", async () => {
    await using other = await TestAgentHome.create();
    await other.start({ joinToken: plane.createToken() });
    const text = await readFile(join(other.stateDir, "agent.pem"), "utf8");
    const received = await connectTo({ certificatePem: text, keyPem: text, caPem: plane.ca.certificatePem }, (address) =>
      expect(home.start({ joinToken: plane.createToken({ address }) })).rejects.toMatchObject({ reason: "CaMismatch" }),
    );
    expect(received).toBe(0);
  });
});

describe("an agent with a damaged or foreign state directory", () => {
  it("says what to do", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await agent.stop();
    const original = await readFile(join(home.stateDir, "agent.pem"), "utf8");
    await writeFile(join(home.stateDir, "agent.pem"), original.slice(0, 300));
    await expect(home.start()).rejects.toThrow(/Restore agent\.pem .* or empty the directory and join again/);
    await writeFile(join(home.stateDir, "agent.pem"), original);
    await writeFile(join(home.stateDir, "state.json"), "{");
    await expect(home.start()).rejects.toThrow(/state\.json is damaged/);
    await writeFile(join(home.stateDir, "state.json"), "");
  });

  it("gets its node's id back after the state file was deleted", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await agent.stop();
    await writeFile(join(home.stateDir, "state.json"), '{"version":1,"controlPlane":"","nodes":[]}');
    expect((await home.start({ controlPlane: plane.address })).nodeIds).toEqual(agent.nodeIds);
  });

  it("refuses a token of another fleet", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await agent.stop();
    await using foreign = await AgentControlPlane.start();
    await expect(home.start({ joinToken: foreign.createToken() })).rejects.toMatchObject({ reason: "OtherFleet" });
  });

  it("refuses an identity that another CA signed", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await agent.stop();
    await using foreign = await TestAgentHome.create();
    const ca = await CertificateAuthority.open(foreign.stateDir);
    await writeFile(join(home.stateDir, "ca-certificate.pem"), ca.certificatePem);
    await expect(home.start()).rejects.toThrow(/another CA signed it/);
  });

  it("lets only one agent run on it", async () => {
    await home.start({ joinToken: plane.createToken() });
    await expect(home.start()).rejects.toMatchObject({ reason: "StateInUse" });
  });
});

/** A TLS server with this certificate and CA; gives the bytes that clients sent it beyond the handshake. */
async function connectTo(
  pair: { certificatePem: string; keyPem: string; caPem: string },
  use: (address: string) => Promise<unknown>,
): Promise<number> {
  let received = 0;
  const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(pair.certificatePem)?.[0];
  const key = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(pair.keyPem)?.[0];
  const server = createServer({ cert: `${certificate}\n${pair.caPem}`, key, ALPNProtocols: ["h2"] }, (socket) => {
    socket.on("data", (data) => {
      received += data.length;
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await use(`127.0.0.1:${(server.address() as { port: number }).port}`);
  await new Promise((resolve) => server.close(resolve));
  return received;
}
