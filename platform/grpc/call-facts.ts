import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { TLSSocket } from "node:tls";
import { ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor } from "@grpc/grpc-js";
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
  cancelled: boolean;
  /** Called when the client went away or its deadline passed, and may be called after the call's regular end. */
  onCancel: (() => void) | null;
}

/** Lets the facts ride along with the metadata: the value is a key of `facts`, an object that only this process can make. */
const KEY = "fleetgraph-call-bin";
const facts = new WeakMap<Uint8Array, CallFacts>();

/** The connections of a server that have made a call, each with what does not change from call to call. */
export class ServerSessions {
  readonly #certificates = new Map<Http2Session, Buffer | null>();
  readonly #windowBytes: number | null;

  /** `windowBytes`: how much a client may send ahead of what was read; null: HTTP/2's own 64 KiB. */
  constructor(windowBytes: number | null = null) {
    this.#windowBytes = windowBytes;
  }

  /** Those of a call that begins; who asks sets `cancelled`. */
  factsOf(call: ServerInterceptingCallInterface): CallFacts {
    return { peerCertificate: this.#peerCertificate(call), deadline: Number(call.getDeadline()), cancelled: false, onCancel: null };
  }

  /** For grpc-js: notes the facts of each call before its handler sees it. */
  readonly interceptor: ServerInterceptor = (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const own = this.factsOf(call);
        next({
          onReceiveMetadata(metadata, pass) {
            const key = Buffer.allocUnsafeSlow(0);
            facts.set(key, own);
            // Replaces whatever the client sent under this name.
            metadata.set(KEY, key);
            pass(metadata);
          },
          onCancel() {
            own.cancelled = true;
            own.onCancel?.();
          },
        });
      },
    });

  /** Ends all connections at once. grpc-js's `forceShutdown` forgets them where its channelz is off. */
  destroy(): void {
    for (const session of this.#certificates.keys()) session.destroy();
  }

  #peerCertificate(call: ServerInterceptingCallInterface): Buffer | null {
    // grpc-js tells of valid certificates only, and builds the whole description anew for every call. A bad one must not pass for none,
    // so the connection is asked, once. Should the (private) field go away, what grpc-js tells still holds.
    const session = (call as ServerInterceptingCallInterface & { stream?: ServerHttp2Stream }).stream?.session;
    if (!session) return call.getAuthContext().sslPeerCertificate?.raw ?? null;
    let certificate = this.#certificates.get(session);
    if (certificate === undefined) {
      certificate = session.socket instanceof TLSSocket ? (session.socket.getPeerX509Certificate()?.raw ?? null) : null;
      this.#certificates.set(session, certificate);
      this.#widen(session);
      session.once("close", () => this.#certificates.delete(session));
    }
    return certificate;
  }

  /** grpc-js has this for clients alone. */
  #widen(session: Http2Session): void {
    if (this.#windowBytes === null || session.destroyed) return;
    session.setLocalWindowSize(this.#windowBytes);
    session.settings({ initialWindowSize: this.#windowBytes });
  }
}

/** The facts of a call; they leave its metadata. Throws without the interceptor: then nothing is known about the caller. */
export function takeCallFacts({ metadata }: CallContext): CallFacts {
  const key = metadata.get(KEY);
  metadata.delete(KEY);
  const known = key === undefined ? undefined : facts.get(key);
  if (known === undefined) throw new Error("The call facts interceptor is not installed.");
  return known;
}
