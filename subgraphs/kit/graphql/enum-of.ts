/** An enum for type-graphql out of names: the services know enums as unions of strings. */
export function enumOf<T extends string>(names: readonly T[]): { readonly [K in T]: K } {
  return Object.freeze(Object.fromEntries(names.map((name) => [name, name]))) as { readonly [K in T]: K };
}
