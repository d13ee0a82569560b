import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const module = new URL("../../../../platform/tls/certificate-authority.ts", import.meta.url).href;

/** Opens the CA in a process of its own, as soon as the clock says so, and tells its fingerprint. */
async function openElsewhere(dir: string, at: number): Promise<string> {
  const script = `const { CertificateAuthority } = await import(process.argv[1]);
    while (Date.now() < Number(process.argv[3]));
    process.stdout.write((await CertificateAuthority.open(process.argv[2])).fingerprint);`;
  const args = ["--no-warnings", "--input-type=module", "--eval", script, module, dir, String(at)];
  return (await promisify(execFile)(process.execPath, args)).stdout;
}

test("processes that open a fresh directory at once end with the same CA", async () => {
  const dir = await mkdtemp(join(tmpdir(), "fleetgraph-ca-"));
  const at = Date.now() + 1500;
  const fingerprints = await Promise.all(Array.from({ length: 4 }, () => openElsewhere(dir, at)));
  expect(new Set(fingerprints)).toEqual(new Set([expect.stringMatching(/^[0-9a-f]{64}$/)]));
  expect((await readdir(dir)).sort()).toEqual(["ca-certificate.pem", "ca.pem"]);
  await rm(dir, { recursive: true });
});
