import { type FormEvent, useEffect, useState } from "react";
import type { Session, SessionState } from "./session.ts";

/** The strip above GraphiQL: who is signed in and for how long, or how to sign in. */
export function SignIn({ session, state }: { session: Session; state: SessionState }) {
  if (state.kind === "signing-in") return <div className="sign-in">Signing in…</div>;
  if (state.kind === "signed-in") return <SignedIn session={session} state={state} />;
  return <SignedOut session={session} reason={state.reason} />;
}

function SignedIn({ session, state }: { session: Session; state: Extract<SessionState, { kind: "signed-in" }> }) {
  const left = useTimeLeft(state.expiresAt);
  return (
    <div className="sign-in signed-in" data-signed-in={state.role}>
      <span>
        Signed in as <strong>{state.subject}</strong> ({state.role}), {left} left
      </span>
      <button type="button" onClick={() => session.signOut(null)}>
        Sign out
      </button>
    </div>
  );
}

function SignedOut({ session, reason }: { session: Session; reason: string | null }) {
  const [text, setText] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    session.accept(text);
    setText("");
  };
  return (
    <form className="sign-in signed-out" role="alert" onSubmit={submit}>
      <span>
        <strong>{reason ?? "You are not signed in."}</strong> Open the link that <code>npm start</code> prints, or run{" "}
        <code>fleetgraph token</code> and paste what it prints:
      </span>
      <input
        type="password"
        value={text}
        onChange={(event) => setText(event.target.value)}
        placeholder="token"
        aria-label="Token"
        autoComplete="off"
        spellCheck={false}
      />
      <button type="submit" disabled={text.trim() === ""}>
        Sign in
      </button>
    </form>
  );
}

function useTimeLeft(expiresAt: number): string {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 15_000);
    return () => clearInterval(timer);
  }, []);
  const minutes = Math.max(0, Math.round((expiresAt - now) / 60_000));
  if (minutes < 1) return "less than a minute";
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
