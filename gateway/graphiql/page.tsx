import { GraphiQL } from "graphiql";
import { useMemo, useSyncExternalStore } from "react";
import { EXAMPLES } from "./examples.ts";
import { createFetcher } from "./fetcher.ts";
import type { Session } from "./session.ts";
import { SignIn } from "./sign-in.tsx";

export function Page({ session }: { session: Session }) {
  const state = useSyncExternalStore(session.subscribe, session.state);
  const token = state.kind === "signed-in" ? state.token : null;
  // A new fetcher makes GraphiQL read the schema again, which it cannot without a token.
  const fetcher = useMemo(() => createFetcher(token, (reason) => session.signOut(reason)), [token, session]);
  return (
    <div className="page">
      <SignIn session={session} state={state} />
      <div className="editor">
        <GraphiQL
          fetcher={fetcher}
          schema={token === null ? null : undefined}
          defaultTabs={EXAMPLES}
          defaultEditorToolsVisibility={false}
          isHeadersEditorEnabled={false}
          shouldPersistHeaders={false}
          inputValueDeprecation
          schemaDescription
        >
          <GraphiQL.Logo>
            <span className="title">Fleetgraph</span>
          </GraphiQL.Logo>
        </GraphiQL>
      </div>
    </div>
  );
}
