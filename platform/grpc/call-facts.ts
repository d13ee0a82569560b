import type { ServerHttp2Stream } from "node:http2";
import { TLSSocket } from "node:tls";
import { ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor, ServerListenerBuilder } from "@grpc/grpc-js";
import type { CallContext } from "nice-grpc";

/** What grpc-js knows of a call and nice-grpc does not pass on. */
export interface CallFacts {
  /**
   * The certificate (DER) that the client showed in the handshake, where TLS made sure that it holds the key. Nothing is said about
   * who signed it. Null without one.
   */
  peerCertificate: Buffer | null;
  /** Milliseconds since the epoch; Infinity without a deadline. */
  deadline: number;
}

/** Lets the facts ride along with the metadata: the value is a key of `facts`, an object that only this process can make. */
const KEY = "fleetgraph-call-bin";
const facts = new WeakMap<Uint8Array, CallFacts>();
/** Reading a certificate from a socket costs as much as the rest of a small call. */
const certificates = new WeakMap<TLSSocket, Buffer | null>();

/** Notes the facts of each call before its handler sees it. */
export const callFactsInterceptor: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      next(
        new ServerListenerBuilder()
          .withOnReceiveMetadata((metadata, pass) => {
            const key = Buffer.allocUnsafeSlow(0);
            facts.set(key, { peerCertificate: peerCertificate(call), deadline: Number(call.getDeadline()) });
            // Replaces whatever the client sent under this name.
            metadata.set(KEY, key);
            pass(metadata);
          })
          .build(),
      );
    },
  });

/** The facts of a call; they leave its metadata. Throws without the interceptor: then nothing is known about the caller. */
export function takeCallFacts({ metadata }: CallContext): CallFacts {
  const key = metadata.get(KEY);
  metadata.delete(KEY);
  const known = key === undefined ? undefined : facts.get(key);
  if (known === undefined) throw new Error("The call facts interceptor is not installed.");
  return known;
}

function peerCertificate(call: ServerInterceptingCallInterface): Buffer | null {
  // grpc-js tells of valid certificates only, and builds the whole description anew for every call. A bad one must not pass for none,
  // so the socket is asked. Should the (private) field go away, what grpc-js tells still holds.
  const { stream } = call as ServerInterceptingCallInterface & { stream?: ServerHttp2Stream };
  const socket = stream?.session?.socket;
  if (stream === undefined || socket === undefined) return call.getAuthContext().sslPeerCertificate?.raw ?? null;
  if (!(socket instanceof TLSSocket)) return null;
  let certificate = certificates.get(socket);
  if (certificate === undefined) {
    certificate = socket.getPeerX509Certificate()?.raw ?? null;
    certificates.set(socket, certificate);
  }
  return certificate;
}
