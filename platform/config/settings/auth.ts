import { join } from "node:path";
import * as kind from "../kinds.ts";
import { optional, SERVERS, withDefault } from "./setting.ts";

/** Who may call. */
export const AUTH_SETTINGS = {
  "auth.keyDir": withDefault({
    kind: kind.path,
    flag: "--keys",
    default: ({ dataDir }) => join(dataDir, "keys"),
    defaultText: "DATA/keys",
    commands: [...SERVERS, "token", "backup", "restore"],
    description: "The local issuer's signing key, made at the first start. Used unless auth.issuer or auth.jwks is set.",
  }),
  "auth.issuer": optional({
    kind: kind.httpUrl,
    flag: "--oidc-issuer",
    commands: SERVERS,
    description: "An OpenID Connect issuer whose tokens are taken instead of the local issuer's.",
  }),
  "auth.audience": withDefault({
    kind: kind.text("name"),
    flag: "--oidc-audience",
    default: "fleetgraph",
    commands: SERVERS,
    description: "What the `aud` claim must hold.",
  }),
  "auth.roleClaim": withDefault({
    kind: kind.text("claim"),
    flag: "--oidc-role-claim",
    default: "role",
    commands: SERVERS,
    description: "The claim that holds viewer, operator or admin, or a list with one of them; dots lead into nested claims.",
  }),
  "auth.jwks": optional({
    kind: kind.text("path|url"),
    flag: "--jwks",
    commands: SERVERS,
    description:
      "The public keys that tokens are verified with, as a JSON Web Key Set: a file (such as DATA/keys/jwks.json of the process that issues them) or an https URL. With it, a process needs no signing key.",
  }),
  "auth.signInTokenTtl": withDefault({
    kind: kind.duration(60, 86_400),
    default: 3600,
    commands: ["up"],
    description: "How long the token lives that the printed sign-in link is exchanged for.",
  }),
};
