import type { TypedDocumentString } from "../../schema/generated/operations/graphql.ts";

/** Runs an operation of test/operations over HTTP with its generated types; throws where the answer has errors. `url` is the gateway's, without a path. */
export async function execute<Result, Variables>(
  url: string,
  token: string,
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
  timeoutMs = 10_000,
): Promise<Result> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: document.toString(), variables }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const { data, errors } = (await response.json()) as { data: Result; errors?: unknown };
  if (errors !== undefined) throw new Error(`the gateway answered ${JSON.stringify(errors)}`);
  return data;
}
