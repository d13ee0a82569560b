import { createPrivateKey, X509Certificate } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { grpcClient } from "../../platform/grpc/client.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";
import { readPrivateFile, replaceFile } from "../../platform/tls/certificate-files.ts";
import { createCertificateRequest } from "../../platform/tls/certificate-request.ts";
import { fetchPinnedCa } from "../../platform/tls/pinned-ca.ts";
import { type CertificateResponse, EnrollmentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type AgentCredentials, checkCertificate, saveCredentials } from "./credentials.ts";
import type { JoinToken } from "./join-token.ts";

/** Every part of the control plane, and nobody else that has a certificate of the CA. */
export const CONTROL_PEERS = "fleetgraph://control/*";

const REQUEST_FILE = "join-request.json";
const JOIN_DEADLINE_MS = 15_000;

const pendingRequest = z.object({ keyPem: z.string(), requestDer: z.base64() });

/**
 * Trades a join token for a certificate and keeps it. The CA is checked against the token before the secret is sent. The key is kept before
 * that: where the answer is lost, or the agent killed, the same key asks again and gets the same identity, although the token is used up.
 * Throws what the control plane answers (UNAUTHENTICATED: JoinTokenUsed, …), CaMismatch, or UNAVAILABLE.
 */
export async function enroll(token: JoinToken, address: string, stateDir: string, signal?: AbortSignal): Promise<AgentCredentials> {
  const ca = await fetchPinnedCa({ ...parseHostPort(address), fingerprint: token.caFingerprint, signal });
  const { keyPem, requestDer } = await ownRequest(stateDir);
  const channel = createGrpcChannel(address, { caPem: ca.certificatePem, peerUri: CONTROL_PEERS });
  let response: CertificateResponse;
  try {
    const client = grpcClient(EnrollmentServiceDefinition, channel, { defaultDeadlineMs: JOIN_DEADLINE_MS });
    response = await client.join({ token: token.secret, certificateRequest: requestDer }, { signal });
  } finally {
    channel.close();
  }
  const credentials = acceptCertificate(response, keyPem, ca.certificatePem);
  await saveCredentials(stateDir, credentials);
  await rm(join(stateDir, REQUEST_FILE), { force: true });
  return credentials;
}

/** The answer of Join or Renew as credentials. Throws FAILED_PRECONDITION where it does not fit the key or the CA. */
export function acceptCertificate(response: CertificateResponse, keyPem: string, caPem: string): AgentCredentials {
  const certificate = new X509Certificate(response.certificate);
  const certificatePem = certificate.toString();
  const agentId = checkCertificate(certificatePem, caPem);
  if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
    throw new FleetError("FAILED_PRECONDITION", "The control plane signed another key than the one that was sent.");
  }
  return { agentId, keyPem, certificatePem, caPem };
}

async function ownRequest(stateDir: string): Promise<{ keyPem: string; requestDer: Buffer }> {
  const path = join(stateDir, REQUEST_FILE);
  const kept = parsePending(await readPrivateFile(path));
  if (kept !== null) return kept;
  const request = await createCertificateRequest();
  await replaceFile(path, JSON.stringify({ keyPem: request.keyPem, requestDer: request.requestDer.toString("base64") }));
  return request;
}

/** A damaged file is as good as none: nothing else depends on the key in it. */
function parsePending(text: string | null): { keyPem: string; requestDer: Buffer } | null {
  if (text === null) return null;
  try {
    const { keyPem, requestDer } = pendingRequest.parse(JSON.parse(text));
    createPrivateKey(keyPem);
    return { keyPem, requestDer: Buffer.from(requestDer, "base64") };
  } catch {
    return null;
  }
}
