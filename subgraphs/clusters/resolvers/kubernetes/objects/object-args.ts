import { ArgsType, type ClassType, Field, ID } from "type-graphql";
import { ConnectionArgs } from "../../../../kit/graphql/connection.ts";
import type { RawObjectFilter } from "../../../services/kubernetes/objects/object-filter.ts";
import type { RawObjectWatch } from "../../../services/kubernetes/objects/object-watches.ts";

const LABELS = 'As `kubectl -l` has it: "app=web,env in (prod,staging),!old"; at most 1,024 characters.';
const FIELDS =
  'As `kubectl --field-selector` has it, for fields that the kind can be selected by: "status.phase=Running"; at most 1,024 characters.';
const NAMESPACE = "Only of this one; left out: of all.";

@ArgsType()
export class ObjectListArgs extends ConnectionArgs implements RawObjectFilter {
  @Field(() => String, { nullable: true, description: LABELS })
  labelSelector?: string | null;

  @Field(() => String, { nullable: true, description: FIELDS })
  fieldSelector?: string | null;
}

@ArgsType()
class NamespacedListArgs extends ObjectListArgs {
  @Field(() => String, { nullable: true, description: NAMESPACE })
  namespace?: string | null;
}

@ArgsType()
export class ObjectWatchArgs implements RawObjectWatch {
  @Field(() => ID, { description: "Of the Kubernetes cluster." })
  clusterId!: string;

  @Field(() => String, { nullable: true, description: LABELS })
  labelSelector?: string | null;

  @Field(() => String, { nullable: true, description: FIELDS })
  fieldSelector?: string | null;

  @Field(() => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." })
  after?: string | null;

  @Field(() => Boolean, { nullable: true, description: "First what exists. Not used with `after`." })
  snapshot?: boolean | null;
}

@ArgsType()
class NamespacedWatchArgs extends ObjectWatchArgs {
  @Field(() => String, { nullable: true, description: NAMESPACE })
  namespace?: string | null;
}

/** The arguments of a kind's list and watch. */
export function objectArgs(namespaced: boolean): { list: ClassType<ObjectListArgs>; watch: ClassType<ObjectWatchArgs> } {
  return namespaced ? { list: NamespacedListArgs, watch: NamespacedWatchArgs } : { list: ObjectListArgs, watch: ObjectWatchArgs };
}
