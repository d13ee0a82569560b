import { X509Certificate } from "node:crypto";
import { chmod, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createFileOnce, loadKeyPair, needsRenewal, renewalTime, saveKeyPair } from "../../../../platform/tls/certificate-files.ts";
import { loadControlCredentials, saveControlCredentials } from "../../../../platform/tls/control-credentials.ts";
import { agentKeyPair, temporaryCa } from "../../../support/certificates.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
let dir: string;
beforeAll(async () => {
  home = await temporaryCa();
  dir = await mkdtemp(join(tmpdir(), "fleetgraph-keys-"));
});
afterAll(() => Promise.all([home.remove(), rm(dir, { recursive: true, force: true })]));

test("a key pair comes back as it was kept, from a file for its owner alone", async () => {
  const pair = await agentKeyPair(home.ca, "agent-1");
  const file = join(dir, "agent", "identity.pem");
  expect(await loadKeyPair(file)).toBeNull();
  await saveKeyPair(file, pair);
  expect(await loadKeyPair(file)).toEqual({ keyPem: pair.keyPem, certificatePem: pair.certificatePem });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(join(dir, "agent"))).toEqual(["identity.pem"]);
});

test("a reader beside a writer sees one pair or the other, never halves of both", async () => {
  const file = join(dir, "turns", "identity.pem");
  const pairs = await Promise.all([agentKeyPair(home.ca, "agent-1"), agentKeyPair(home.ca, "agent-2")]);
  await saveKeyPair(file, pairs[0]);
  let writing = true;
  const writer = (async () => {
    for (let turn = 0; turn < 30; turn += 1) await saveKeyPair(file, pairs[turn % 2] ?? pairs[0]);
    writing = false;
  })();
  // loadKeyPair throws where key and certificate do not fit.
  while (writing) expect(await loadKeyPair(file)).not.toBeNull();
  await writer;
});

test("a key that others can read is refused", async () => {
  const file = join(dir, "open.pem");
  await saveKeyPair(file, await agentKeyPair(home.ca, "agent-1"));
  await chmod(file, 0o644);
  await expect(loadKeyPair(file)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
});

test("of several that make a file, one does", async () => {
  const file = join(dir, "once");
  const made = await Promise.all(Array.from({ length: 6 }, (_, index) => createFileOnce(file, `text ${index}`)));
  expect(made.filter(Boolean)).toHaveLength(1);
});

test("a certificate wants renewal in the last third of its life", async () => {
  const { certificatePem } = await agentKeyPair(home.ca, "agent-1", 86_400);
  const { validFromDate, validToDate } = new X509Certificate(certificatePem);
  const life = validToDate.getTime() - validFromDate.getTime();
  expect(needsRenewal(certificatePem)).toBe(false);
  expect(needsRenewal(certificatePem, validFromDate.getTime() + life * 0.66)).toBe(false);
  expect(needsRenewal(certificatePem, validFromDate.getTime() + life * 0.67)).toBe(true);
  expect(needsRenewal(certificatePem, validToDate.getTime() + 1)).toBe(true);
  expect(renewalTime(certificatePem).getTime()).toBeCloseTo(validFromDate.getTime() + (life * 2) / 3, -1);
});

test("a part without the CA's key keeps the CA's certificate and its own", async () => {
  const folder = join(dir, "control");
  await expect(loadControlCredentials(folder)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  const pair = await home.ca.issueControl("nodes");
  await saveControlCredentials(folder, { caPem: home.ca.certificatePem, ...pair });
  expect(await loadControlCredentials(folder)).toMatchObject(pair);
  expect((await readdir(folder)).sort()).toEqual(["ca-certificate.pem", "control.pem"]);
});
