import { AsyncLocalStorage } from "node:async_hooks";

interface Scope {
  active: boolean;
  /** The store whose transaction this is; set when it has its connection. */
  holder: string | null;
}

const storage = new AsyncLocalStorage<Scope>();

/** Runs one attempt of a transaction. What it leaves running in the background is outside again once `run` has settled. */
export async function inTransactionScope<T>(run: () => Promise<T>): Promise<T> {
  refuseInsideTransaction("A transaction");
  const scope: Scope = { active: true, holder: null };
  try {
    return await storage.run(scope, run);
  } finally {
    scope.active = false;
  }
}

/**
 * Called wherever a database connection is taken. A transaction takes one; a second one from inside it would wait for the first
 * (SQLite has a single writer, a PostgreSQL pool runs empty) and hang for ever, so it is refused with a message that says what to do.
 */
export function guardAcquire(store: string): void {
  const scope = storage.getStore();
  if (!scope?.active) return;
  if (scope.holder !== null) throw nested(`A second connection (store ${store})`, scope.holder);
  scope.holder = store;
}

/** Throws inside a transaction, whatever store it belongs to: nothing but the store is awaited there. */
export function refuseInsideTransaction(what: string): void {
  const scope = storage.getStore();
  if (scope?.active) throw nested(what, scope.holder ?? "?");
}

function nested(what: string, holder: string): Error {
  return new Error(
    `${what} was asked for inside a transaction of store ${holder}, where it would hang. ` +
      "Use the transaction's own `tx.em`, pass it on, and await nothing but the store inside a transaction.",
  );
}
