import type { FetchNode, QueryPlan } from "@apollo/query-planner";
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLField,
  getArgumentValues,
  Kind,
  type OperationDefinitionNode,
  parseType,
  print,
  type SelectionNode,
  type VariableDefinitionNode,
  visit,
} from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { InvalidOperation, type PreparedOperation, planOperation, type ValidDocument } from "../execution/prepared-operation.ts";
import type { ResumableField } from "../supergraph/resumable.ts";

/**
 * A subscription as the gateway runs it. The arguments that say where one client starts are taken out of the operation, so that all clients
 * share what is left; hidden fields for cursor and type are added to what is asked of the subgraph, and never appear in an answer.
 */
export interface SubscriptionOperation {
  /** The operation that shapes the answers, with its plan. */
  readonly prepared: PreparedOperation;
  /** What is subscribed to, in one subgraph. */
  readonly upstream: FetchNode;
  /** What is executed per event; the subscribed part is answered by the event itself. */
  readonly eventPlan: QueryPlan;
  readonly responseName: string;
  /** Null for a field that cannot continue after a loss. */
  readonly resumable: (ResumableField & { readonly hidden: HiddenNames }) | null;
  /** The normalised operation: equal texts ask for the same. */
  readonly text: string;
  /** Variables that the normalised operation uses. */
  readonly variableNames: readonly string[];
  /** The client's own root field and its definition: its arguments are coerced from these. */
  readonly clientField: FieldNode;
  readonly definition: GraphQLField<unknown, unknown>;
}

interface HiddenNames {
  readonly cursor: string;
  readonly type: string;
  readonly after: string;
  readonly snapshot: string;
}

/** Where one client starts. */
export interface StartPosition {
  readonly after: string | null;
  readonly snapshot: boolean;
}

/** Throws InvalidOperation where the operation is one that the specification does not allow or that cannot be planned as a subscription. */
export function prepareSubscription({ snapshot, document, operation, operationName }: ValidDocument): SubscriptionOperation {
  const fragments = fragmentsOf(document);
  const clientField = rootField(operation, fragments);
  const definition = snapshot.schema.getSubscriptionType()?.getFields()[clientField.name.value];
  if (!definition) throw new InvalidOperation([new GraphQLError("A subscription must select a field.", { nodes: clientField })]);
  const field = snapshot.resumable.get(clientField.name.value) ?? null;
  const hidden = field && hiddenNames(print(document));
  const shared = field && hidden ? withoutStart(clientField, field, hidden) : clientField;
  const asked = field && hidden ? withHiddenFields(shared, field, hidden) : shared;
  const starts = field && hidden ? startVariables(field, hidden) : [];
  const assemble = (root: FieldNode) => assembleDocument(operation, root, fragments, starts);

  const prepared = planOperation(snapshot, assemble(shared), operationName);
  const { node } = planOperation(snapshot, assemble(asked), operationName).plan;
  if (node?.kind !== "Subscription") throw new FleetError("INTERNAL", "The subscription cannot be planned.");
  return {
    prepared,
    upstream: node.primary,
    eventPlan: { kind: "QueryPlan", node: node.rest ? { kind: "Sequence", nodes: [node.primary, node.rest] } : node.primary },
    responseName: clientField.alias?.value ?? clientField.name.value,
    resumable: field && hidden ? { ...field, hidden } : null,
    text: print(assemble(shared)),
    variableNames: (prepared.context.operation.variableDefinitions ?? []).map((variable) => variable.variable.name.value),
    clientField,
    definition,
  };
}

/** Where a client starts, by its arguments. `variables` are coerced. */
export function startPosition(operation: SubscriptionOperation, variables: Record<string, unknown>): StartPosition {
  if (!operation.resumable) return { after: null, snapshot: false };
  const values = getArgumentValues(operation.definition, operation.clientField, variables);
  const after = values[operation.resumable.after];
  return { after: typeof after === "string" ? after : null, snapshot: values[operation.resumable.snapshot] === true };
}

/** The selections of the root are merged into one field. The specification forbids conditions there: the stream itself would depend on them. */
function rootField(operation: OperationDefinitionNode, fragments: ReadonlyMap<string, FragmentDefinitionNode>): FieldNode {
  const fields: FieldNode[] = [];
  const collect = (selections: readonly SelectionNode[]) => {
    for (const selection of selections) {
      const condition = selection.directives?.find(({ name }) => name.value === "skip" || name.value === "include");
      if (condition) {
        const message = "@skip and @include are not allowed on the root field of a subscription.";
        throw new InvalidOperation([new GraphQLError(message, { nodes: condition, extensions: { code: "GRAPHQL_VALIDATION_FAILED" } })]);
      }
      if (selection.kind === Kind.FIELD) fields.push(selection);
      else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet.selections);
      else collect(fragments.get(selection.name.value)?.selectionSet.selections ?? []);
    }
  };
  collect(operation.selectionSet.selections);
  const [first, ...others] = fields;
  if (!first) throw new InvalidOperation([new GraphQLError("A subscription must select a field.", { nodes: operation })]);
  if (others.length === 0 || !first.selectionSet) return first;
  const selections = fields.flatMap((field) => field.selectionSet?.selections ?? []);
  return { ...first, selectionSet: { ...first.selectionSet, selections } };
}

function withoutStart(root: FieldNode, field: ResumableField, hidden: HiddenNames): FieldNode {
  const isStart = (name: string) => name === field.after || name === field.snapshot;
  const argument = (name: string, variable: string) =>
    ({
      kind: Kind.ARGUMENT,
      name: { kind: Kind.NAME, value: name },
      value: { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: variable } },
    }) as const;
  const others = (root.arguments ?? []).filter(({ name }) => !isStart(name.value));
  return { ...root, arguments: [...others, argument(field.after, hidden.after), argument(field.snapshot, hidden.snapshot)] };
}

function withHiddenFields(root: FieldNode, field: ResumableField, hidden: HiddenNames): FieldNode {
  if (!root.selectionSet) return root;
  const aliased = (alias: string, name: string): FieldNode => ({
    kind: Kind.FIELD,
    alias: { kind: Kind.NAME, value: alias },
    name: { kind: Kind.NAME, value: name },
  });
  const selections = [aliased(hidden.cursor, field.cursor), aliased(hidden.type, field.type), ...root.selectionSet.selections];
  return { ...root, selectionSet: { ...root.selectionSet, selections } };
}

function startVariables(field: ResumableField, hidden: HiddenNames): VariableDefinitionNode[] {
  const define = (name: string, type: string): VariableDefinitionNode => ({
    kind: Kind.VARIABLE_DEFINITION,
    variable: { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: name } },
    type: parseType(type),
  });
  return [define(hidden.after, field.afterType), define(hidden.snapshot, field.snapshotType)];
}

/** Names that the document itself does not use, the same for equal documents. */
function hiddenNames(text: string): HiddenNames {
  let prefix = "fleet";
  while (text.includes(prefix)) prefix += "_";
  return { cursor: `${prefix}Cursor`, type: `${prefix}Type`, after: `${prefix}After`, snapshot: `${prefix}Snapshot` };
}

/** The operation with one root field, the fragments that it uses and the variables that are still used. */
function assembleDocument(
  operation: OperationDefinitionNode,
  root: FieldNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  added: readonly VariableDefinitionNode[],
): DocumentNode {
  const used = new Map<string, FragmentDefinitionNode>();
  const variables = new Set<string>();
  const inspect = (node: FieldNode | FragmentDefinitionNode) => {
    visit(node, {
      Variable: ({ name }) => {
        variables.add(name.value);
      },
      FragmentSpread: ({ name }) => {
        const fragment = fragments.get(name.value);
        if (!fragment || used.has(name.value)) return;
        used.set(name.value, fragment);
        inspect(fragment);
      },
    });
  };
  inspect(root);
  const definitions = (operation.variableDefinitions ?? []).filter(({ variable }) => variables.has(variable.name.value));
  return {
    kind: Kind.DOCUMENT,
    definitions: [
      {
        ...operation,
        variableDefinitions: [...definitions, ...added],
        selectionSet: { kind: Kind.SELECTION_SET, selections: [root] },
      },
      ...used.values(),
    ],
  };
}

function fragmentsOf(document: DocumentNode): ReadonlyMap<string, FragmentDefinitionNode> {
  const found = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) found.set(definition.name.value, definition);
  return found;
}
