import "reflect-metadata";
import { Field, ObjectType } from "type-graphql";

@ObjectType("UnavailableValue", { description: "A value that is null, and why.", simpleResolvers: true })
export class UnavailableValueObject {
  @Field(() => String, {
    description:
      'The path below the object, such as "cpu.model" or "numa[1].distances" (in a list of devices: "devices[0000:01:00.0].link"); it stands for everything below it.',
  })
  field!: string;

  @Field(() => String, {
    description:
      "One word: NOT_REPORTED_YET, NODE_OFFLINE, AGENT_TIMEOUT, AGENT_UNREACHABLE, NO_AGENT, SIMULATED, TOO_MANY_CALLS; or the host's own: NOT_PRESENT, NO_PERMISSION, NOT_SUPPORTED, NOT_INSTALLED, NO_SHELL, UNREADABLE, MALFORMED. More may come.",
  })
  reason!: string;

  @Field(() => String, { description: "A sentence, for people." })
  message!: string;
}
