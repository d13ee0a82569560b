import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { keepRenewed } from "../../../../platform/tls/renewal.ts";
import { agentKeyPair, oddCertificate, temporaryCa } from "../../../support/certificates.ts";
import { until } from "../../../support/until.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
beforeAll(async () => {
  home = await temporaryCa();
});
afterAll(() => home.remove());

const log = createLogger({ name: "test", level: "silent" });
const retryMs = { first: 5, longest: 20 };

test("a certificate in the last third of its life is renewed, through failures, and then left alone", async () => {
  const now = Date.now();
  const { certificatePem } = await oddCertificate(home.dir, { notBefore: new Date(now - 70_000), notAfter: new Date(now + 30_000) });
  const fresh = await agentKeyPair(home.ca, "agent-1", 86_400);
  const stop = new AbortController();
  let attempts = 0;
  const renewing = keepRenewed({
    certificate: certificatePem,
    signal: stop.signal,
    log,
    retryMs,
    async renew() {
      attempts += 1;
      if (attempts < 4) throw new Error("not now");
      return fresh.certificatePem;
    },
  });
  await until(() => attempts === 4, "the fourth attempt");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(attempts).toBe(4);
  stop.abort();
  await renewing;
});

test("a certificate that is not due is not renewed, and the waiting ends with the signal", async () => {
  const { certificatePem } = await agentKeyPair(home.ca, "agent-1", 86_400);
  const stop = new AbortController();
  let attempts = 0;
  const renew = async () => {
    attempts += 1;
    return certificatePem;
  };
  const renewing = keepRenewed({ certificate: certificatePem, signal: stop.signal, log, retryMs, renew });
  await new Promise((resolve) => setTimeout(resolve, 30));
  stop.abort();
  await renewing;
  expect(attempts).toBe(0);
});
