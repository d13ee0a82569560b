import type { MissingCapability } from "../capabilities/probe.ts";

export interface Welcome {
  /** Of the gateway, as a browser on this machine reaches it. */
  url: string;
  /** For the sign-in link; null where tokens come from an issuer elsewhere. */
  code: string | null;
  /** host:port of the users' gRPC. */
  grpcAddress: string;
  /** As it was given, for the commands that are suggested. */
  dataDir: string;
  /** What the local agent is doing; null where there is none. */
  agent: string | null;
  missing: MissingCapability[];
}

/** What a person reads who has just started Fleetgraph: where to go, what to do next, what this machine cannot do. */
export function welcomeText({ url, code, grpcAddress, dataDir, agent, missing }: Welcome): string {
  const lines = [
    "Fleetgraph is up.",
    "",
    code === null ? `  Open      ${url}/` : `  Open      ${url}/#code=${code}`,
    ...(code === null ? [] : ["            (signs you in as admin; works once, within 10 minutes)"]),
    `  GraphQL   ${url}/graphql  (HTTP and WebSocket)`,
    `  gRPC      ${grpcAddress}`,
    ...(code === null ? [] : [`  A token   npx fleetgraph token --role admin --data ${quoted(dataDir)}`]),
    `  A host    npx fleetgraph token --join --data ${quoted(dataDir)}, then on the host: npx fleetgraph agent --join TOKEN`,
    ...(agent === null ? [] : [`  This host ${agent}`]),
  ];
  if (missing.length > 0) {
    lines.push("", "This machine lacks:");
    for (const { name, without, remedy } of missing) lines.push(`  ${name}: ${without}.`, `      ${remedy}`);
  }
  return `${lines.join("\n")}\n`;
}

/** As a shell takes it. */
function quoted(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
