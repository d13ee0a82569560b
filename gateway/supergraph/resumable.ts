import {
  type DirectiveNode,
  type DocumentNode,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isNonNullType,
  isObjectType,
  Kind,
  type ObjectTypeDefinitionNode,
  type ValueNode,
} from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";

/** Where the directive is defined; its name in a supergraph is found through the link to this. */
const SPEC_URL = "https://fleetgraph.dev/specs/resumable/";

/** A subscription field that can continue where it was lost: which of its arguments and which fields of its event say how. */
export interface ResumableField {
  readonly field: string;
  /** Argument: continue behind this cursor. */
  readonly after: string;
  /** Argument: what exists comes first, then an event of type BOOKMARK. */
  readonly snapshot: string;
  /** Field of the event: the position behind it. Equal cursors of one subscription mean equal positions. */
  readonly cursor: string;
  /** Field of the event: its type, BOOKMARK for a bare position. */
  readonly type: string;
  /** The arguments' types as they are printed. */
  readonly afterType: string;
  readonly snapshotType: string;
}

/** The subscription fields that a supergraph marks with `@resumable`. Throws FAILED_PRECONDITION where a marked field is not of that form. */
export function findResumableFields(supergraph: DocumentNode, api: GraphQLSchema): ReadonlyMap<string, ResumableField> {
  const found = new Map<string, ResumableField>();
  const directive = directiveName(supergraph);
  const root = api.getSubscriptionType();
  if (directive === null || !root) return found;
  const fields = root.getFields();
  for (const definition of objectTypes(supergraph, root.name)) {
    for (const node of definition.fields ?? []) {
      const mark = node.directives?.find((applied) => applied.name.value === directive);
      const field = fields[node.name.value];
      if (mark && field) found.set(field.name, resumableField(field, mark));
    }
  }
  return found;
}

function resumableField(field: GraphQLField<unknown, unknown>, mark: DirectiveNode): ResumableField {
  const named = (argument: string) => text(argumentOf(mark, argument)) || argument;
  const refuse = (why: string) =>
    new FleetError("FAILED_PRECONDITION", `The supergraph marks Subscription.${field.name} as @resumable, but ${why}.`);
  const argumentType = (name: string) => {
    const argument = field.args.find((candidate) => candidate.name === name);
    if (!argument) throw refuse(`it has no argument ${JSON.stringify(name)}`);
    if (isNonNullType(argument.type)) throw refuse(`its argument ${JSON.stringify(name)} must be nullable`);
    return argument.type.toString();
  };
  const event = getNamedType(field.type);
  if (!isObjectType(event)) throw refuse("its type is not an object type");
  for (const name of [named("cursor"), named("type")]) {
    if (!event.getFields()[name]) throw refuse(`${event.name} has no field ${JSON.stringify(name)}`);
  }
  return {
    field: field.name,
    after: named("after"),
    snapshot: named("snapshot"),
    cursor: named("cursor"),
    type: named("type"),
    afterType: argumentType(named("after")),
    snapshotType: argumentType(named("snapshot")),
  };
}

/** The directive's name without `@`: as imported by the link, or prefixed by the spec's. Null where the supergraph does not link it. */
function directiveName(supergraph: DocumentNode): string | null {
  for (const definition of supergraph.definitions) {
    if (definition.kind !== Kind.SCHEMA_DEFINITION && definition.kind !== Kind.SCHEMA_EXTENSION) continue;
    for (const applied of definition.directives ?? []) {
      if (applied.name.value === "link" && text(argumentOf(applied, "url")).startsWith(SPEC_URL)) return importedName(applied);
    }
  }
  return null;
}

function importedName(link: DirectiveNode): string {
  const imports = argumentOf(link, "import");
  for (const item of imports?.kind === Kind.LIST ? imports.values : []) {
    if (text(item) === "@resumable") return "resumable";
    if (item.kind !== Kind.OBJECT) continue;
    const entry = new Map(item.fields.map(({ name, value }) => [name.value, text(value)]));
    if (entry.get("name") === "@resumable") return (entry.get("as") ?? "@resumable").slice(1);
  }
  return `${text(argumentOf(link, "as")) || "resumable"}__resumable`;
}

function argumentOf(directive: DirectiveNode, name: string): ValueNode | undefined {
  return directive.arguments?.find((given) => given.name.value === name)?.value;
}

/** Of a string; empty for any other value. */
function text(value: ValueNode | undefined): string {
  return value?.kind === Kind.STRING ? value.value : "";
}

function objectTypes(document: DocumentNode, name: string): ObjectTypeDefinitionNode[] {
  return document.definitions.filter(
    (definition): definition is ObjectTypeDefinitionNode =>
      definition.kind === Kind.OBJECT_TYPE_DEFINITION && definition.name.value === name,
  );
}
