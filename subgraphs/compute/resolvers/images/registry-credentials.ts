import { Arg, Ctx, Field, InputType, Mutation, ObjectType, Query, Resolver } from "type-graphql";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import type { ComputeContext } from "../compute-context.ts";

@ObjectType("RegistryCredential", {
  description: "The account with which hosts fetch images. Its password is kept encrypted, and nobody reads it back.",
  simpleResolvers: true,
})
export class RegistryCredentialObject {
  @Field(() => String, { description: "host or host:port, as images' references and URLs name it; docker.io is Docker's own." })
  registry!: string;

  @Field(() => String)
  username!: string;

  @Field(() => String, { description: "Who set it last." })
  updatedBy!: string;

  @Field(() => DateTime)
  updatedAt!: Date;
}

@InputType("SetRegistryCredentialInput")
export class SetRegistryCredentialInput {
  @Field(() => String, { description: "host or host:port: of a container registry, or of an HTTP server with disk images." })
  registry!: string;

  @Field(() => String, { description: "Up to 256 characters, without a colon." })
  username!: string;

  @Field(() => String, { description: "Or a token; up to 16384 characters." })
  password!: string;
}

@InputType("DeleteRegistryCredentialInput")
export class DeleteRegistryCredentialInput {
  @Field(() => String)
  registry!: string;
}

@ObjectType("SetRegistryCredentialPayload", { simpleResolvers: true })
export class SetRegistryCredentialPayload {
  @Field(() => RegistryCredentialObject)
  credential!: RegistryCredentialObject;
}

@ObjectType("DeleteRegistryCredentialPayload", { simpleResolvers: true })
export class DeleteRegistryCredentialPayload {
  @Field(() => RegistryCredentialObject, { description: "As it was." })
  credential!: RegistryCredentialObject;
}

@Resolver(() => RegistryCredentialObject)
export class RegistryCredentialsResolver {
  @Query(() => [RegistryCredentialObject], { description: "By registry, at most 500. Rights: admin." })
  registryCredentials(@Ctx() { request, services }: ComputeContext): Promise<RegistryCredentialObject[]> {
    return services.images.credentials.list(request);
  }

  @Mutation(() => SetRegistryCredentialPayload, {
    description: "Keeps an account for a registry, in the place of the one before. The next pull uses it. Rights: admin.",
  })
  async setRegistryCredential(
    @Arg("input", () => SetRegistryCredentialInput) input: SetRegistryCredentialInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<SetRegistryCredentialPayload> {
    return { credential: await services.images.credentials.set(request, input) };
  }

  @Mutation(() => DeleteRegistryCredentialPayload, { description: "NOT_FOUND where there is none. Rights: admin." })
  async deleteRegistryCredential(
    @Arg("input", () => DeleteRegistryCredentialInput) { registry }: DeleteRegistryCredentialInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DeleteRegistryCredentialPayload> {
    return { credential: await services.images.credentials.delete(request, registry) };
  }
}
