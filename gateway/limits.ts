/** Bounds of the gateway. Times in milliseconds, sizes in bytes. */
export interface GatewayLimits {
  /** An HTTP request's body, and one message on a client's socket. */
  requestBytes: number;
  /** Tokens of one GraphQL document. */
  documentTokens: number;
  /** Operations (text and name) whose plan is remembered. */
  cachedOperations: number;
  /** A query or mutation from first byte to answer. */
  operationMs: number;
  /** The fetches that resolve one event of a subscription. */
  eventMs: number;
  /** How long a subgraph may take to say that it is there. */
  readyMs: number;

  /** Connections to one subgraph for queries. */
  subgraphConnections: number;
  /** Fetches to one subgraph at a time; more wait their turn. */
  subgraphInFlight: number;
  /** Fetches that may wait; above that they fail at once. */
  subgraphWaiting: number;
  /** One answer or event of a subgraph. */
  answerBytes: number;

  /** From opening a subscription's socket to a subgraph until it is acknowledged. */
  upstreamConnectMs: number;
  /** Between pings to a subgraph; a peer that is silent for two of them is dead. */
  upstreamPingMs: number;
  /** Events of one upstream that are read ahead before its socket is paused. */
  upstreamReadAhead: number;
  /** How long a subscription is tried again that could not be opened, before its clients are told. */
  openMs: number;
  /** How long a lost upstream is tried again before its clients are told. */
  resumeMs: number;
  /** Subscriptions to subgraphs at a time, over all clients. */
  upstreams: number;
  /** Events of one subscription that are resolved at a time (they are delivered in order). */
  eventsInFlight: number;

  /** Clients' sockets at a time. */
  sockets: number;
  /** Operations on one socket at a time. */
  operationsPerSocket: number;
  /** Until `connection_init` must have come. */
  initMs: number;
  /** Between pings to a client; one that does not answer until the next is dead. */
  pingMs: number;
  /** How far a client may lag behind its subscription, in events and in bytes of them, before it is cut as too slow. */
  lagMessages: number;
  lagBytes: number;
  /** What may lie unsent in a client's socket before its events wait. */
  socketBufferBytes: number;
  /** How long a client that catches up may leave its socket full. */
  stallMs: number;
  /** Between telling a client that it is cut off, and cutting. */
  cutMs: number;
  /** How long stop() waits for requests in flight and for sockets to close. */
  drainMs: number;
}

export const DEFAULT_LIMITS: GatewayLimits = {
  requestBytes: 1024 * 1024,
  documentTokens: 15_000,
  cachedOperations: 1_000,
  operationMs: 30_000,
  eventMs: 10_000,
  readyMs: 2_000,
  subgraphConnections: 64,
  subgraphInFlight: 256,
  subgraphWaiting: 2_048,
  answerBytes: 64 * 1024 * 1024,
  upstreamConnectMs: 5_000,
  upstreamPingMs: 10_000,
  upstreamReadAhead: 64,
  openMs: 2_000,
  resumeMs: 60_000,
  upstreams: 20_000,
  eventsInFlight: 8,
  sockets: 20_000,
  operationsPerSocket: 100,
  initMs: 5_000,
  pingMs: 15_000,
  lagMessages: 2_048,
  lagBytes: 8 * 1024 * 1024,
  socketBufferBytes: 256 * 1024,
  stallMs: 30_000,
  cutMs: 5_000,
  drainMs: 10_000,
};
