import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type ConnectionTest, testConnection } from "../../../kit/kubernetes/connection-test.ts";
import { parseKubeconfig } from "../../../kit/kubernetes/kubeconfig.ts";
import type { ClusterAccess } from "../../../kit/kubernetes/types.ts";
import { Semaphore } from "../../../kit/semaphore.ts";
import type { KubeconfigContextView } from "./cluster-types.ts";

/** A kubeconfig that was read and can be used. */
export interface CheckedAccess {
  /** As YAML. */
  kubeconfig: string;
  context: string;
  contexts: KubeconfigContextView[];
  access: ClusterAccess;
}

/** Tests of connections that admins wait for, at once in this process; the others wait in line. */
const AT_ONCE = 8;
/** Characters of all contexts as JSON: every event of the cluster carries them. */
const MAX_CONTEXTS_LENGTH = 65_536;

/** Checks access to clusters before it is stored. */
export class AccessCheck {
  readonly #tests = new Semaphore(AT_ONCE);

  /** `context`: null for the kubeconfig's current one. Throws INVALID_ARGUMENT (fields kubeconfig, context), holding no secret. */
  parse(raw: string, context: string | null): CheckedAccess {
    const kubeconfig = parseKubeconfig(raw);
    const { contexts } = kubeconfig;
    if (JSON.stringify(contexts).length > MAX_CONTEXTS_LENGTH) throw tooMuchAround();
    const access = kubeconfig.access(context);
    return { kubeconfig: asYaml(raw), context: access.context, contexts, access };
  }

  /** Throws UNAVAILABLE with the step that failed (details.step). */
  test(ctx: RequestContext, { access }: CheckedAccess): Promise<ConnectionTest> {
    return this.#tests.run(() => testConnection(access, { log: ctx.log, signal: ctx.signal }), ctx.signal);
  }
}

function tooMuchAround(): FleetError {
  const message =
    "The kubeconfig's contexts take over 64 KiB: `kubectl config view --minify --flatten --raw` prints the current one alone.";
  return new FleetError("INVALID_ARGUMENT", message, { reason: "KubeconfigTooLarge", details: { field: "kubeconfig", place: "contexts" } });
}

/** Of what could be parsed: YAML has a colon, base64 has none. */
function asYaml(raw: string): string {
  return raw.includes(":") ? raw : Buffer.from(raw, "base64").toString("utf8");
}
