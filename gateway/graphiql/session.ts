/** Who is signed in on this page. The token lives in this tab's sessionStorage: it ends with the tab and no other tab sees it. */
export type SessionState =
  | { kind: "signed-out"; reason: string | null }
  | { kind: "signing-in" }
  | { kind: "signed-in"; token: string; subject: string; role: string /** Milliseconds since the epoch. */; expiresAt: number };

const STORAGE_KEY = "fleetgraph.token";
/** setTimeout takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export class Session {
  private current: SessionState = { kind: "signed-out", reason: null };
  private readonly listeners = new Set<() => void>();
  private expiry: ReturnType<typeof setTimeout> | undefined;

  readonly state = (): SessionState => this.current;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  get token(): string | null {
    return this.current.kind === "signed-in" ? this.current.token : null;
  }

  /** Takes the link's code, or else what this tab kept. A link that is opened in a tab that shows the page already works too. */
  async start(): Promise<void> {
    window.addEventListener("hashchange", () => void this.takeCode());
    const kept = sessionStorage.getItem(STORAGE_KEY);
    if (kept !== null) this.accept(kept);
    await this.takeCode();
  }

  /** Signs in with a pasted token. What it may do is the server's to say: this only reads who it names and until when. */
  accept(text: string): void {
    const token = text.trim().replace(/^bearer\s+/i, "");
    const claims = readClaims(token);
    if (claims === null || claims.expiresAt <= Date.now()) {
      this.signOut(claims === null ? "That is not a token: `fleetgraph token` prints one." : "That token has expired.");
      return;
    }
    sessionStorage.setItem(STORAGE_KEY, token);
    clearTimeout(this.expiry);
    this.expiry = setTimeout(() => this.signOut("Your token has expired."), Math.min(claims.expiresAt - Date.now(), MAX_TIMEOUT_MS));
    this.change({ kind: "signed-in", token, ...claims });
  }

  signOut(reason: string | null): void {
    clearTimeout(this.expiry);
    sessionStorage.removeItem(STORAGE_KEY);
    this.change({ kind: "signed-out", reason });
  }

  /** The code leaves the address bar and the history before anything else happens; it is good for one exchange. */
  private async takeCode(): Promise<void> {
    const code = new URLSearchParams(location.hash.slice(1)).get("code");
    if (code === null) return;
    history.replaceState(null, "", location.pathname + location.search);
    this.change({ kind: "signing-in" });
    try {
      const response = await fetch("auth/exchange", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ code }),
        signal: AbortSignal.timeout(10_000),
      });
      const answer = (await response.json().catch(() => null)) as { token?: string; errors?: Array<{ message?: string }> } | null;
      if (response.ok && answer?.token) this.accept(answer.token);
      else this.signOut(answer?.errors?.[0]?.message ?? "This link was used already or is too old.");
    } catch {
      this.signOut("The server did not answer the sign-in.");
    }
  }

  private change(state: SessionState): void {
    this.current = state;
    for (const listener of this.listeners) listener();
  }
}

function readClaims(token: string): { subject: string; role: string; expiresAt: number } | null {
  const payload = token.split(".")[1];
  if (payload === undefined) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; role?: unknown; exp?: unknown };
    if (typeof claims.exp !== "number") return null;
    return { subject: String(claims.sub ?? "someone"), role: String(claims.role ?? "token"), expiresAt: claims.exp * 1000 };
  } catch {
    return null;
  }
}
