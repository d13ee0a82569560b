import type { GraphQLResolveInfo } from "graphql";
import { selectedPaths } from "../../../kit/graphql/selection.ts";
import type { NodesContext } from "../nodes-context.ts";

/** Those of the paths that are selected below the field, found once for all nodes of a list. */
export function volatileFieldsOf(info: GraphQLResolveInfo, { volatileFields }: NodesContext, paths: readonly string[]): readonly string[] {
  let fields = volatileFields.get(info.fieldNodes);
  if (fields === undefined) {
    const selected = selectedPaths(info);
    fields = paths.filter((path) => selected.has(path));
    volatileFields.set(info.fieldNodes, fields);
  }
  return fields;
}
