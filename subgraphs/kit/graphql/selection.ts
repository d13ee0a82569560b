import {
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  getDirectiveValues,
  Kind,
  type SelectionSetNode,
} from "graphql";
import { FleetError } from "../../../platform/errors/fleet-error.ts";

/**
 * The paths of fields that are selected below the field being resolved, such as "memory.usedBytes". Names are the schema's, aliases do not
 * matter; @skip and @include count. Fragments on other types are counted too: it may say too much, never too little.
 * Throws RESOURCE_EXHAUSTED where fragments spread to more than `limit` selections.
 */
export function selectedPaths(info: GraphQLResolveInfo, limit = 5000): Set<string> {
  const paths = new Set<string>();
  const open: Array<{ set: SelectionSetNode; prefix: string }> = info.fieldNodes.flatMap((node) =>
    node.selectionSet ? [{ set: node.selectionSet, prefix: "" }] : [],
  );
  let visited = 0;
  for (let entry = open.pop(); entry; entry = open.pop()) {
    for (const selection of entry.set.selections) {
      visited += 1;
      if (visited > limit) throw new FleetError("RESOURCE_EXHAUSTED", "The selection is too large.", { details: { limit } });
      if (isLeftOut(selection, info)) continue;
      if (selection.kind === Kind.FIELD) {
        const path = entry.prefix + selection.name.value;
        paths.add(path);
        if (selection.selectionSet) open.push({ set: selection.selectionSet, prefix: `${path}.` });
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        open.push({ set: selection.selectionSet, prefix: entry.prefix });
      } else {
        const fragment = info.fragments[selection.name.value];
        if (fragment) open.push({ set: fragment.selectionSet, prefix: entry.prefix });
      }
    }
  }
  return paths;
}

function isLeftOut(node: SelectionSetNode["selections"][number], info: GraphQLResolveInfo): boolean {
  if (!node.directives?.length) return false;
  return (
    getDirectiveValues(GraphQLSkipDirective, node, info.variableValues)?.if === true ||
    getDirectiveValues(GraphQLIncludeDirective, node, info.variableValues)?.if === false
  );
}
