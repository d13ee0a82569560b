import { GraphQLError } from "graphql";

type Path = readonly (string | number)[];

/**
 * The stock executor takes the number in an error's path (`_entities`, 3, …) for the number of an object in the list that the fetch is for.
 * But it asks only for those that the subgraph knows (in a list of mixed types, some) and numbers these through. Here the numbers are put
 * right before it sees them: by finding each representation among the objects that it was made from, which are in the same order.
 */
export function numberByObject(
  errors: readonly GraphQLError[],
  representations: readonly unknown[],
  objects: readonly unknown[],
): GraphQLError[] {
  const numbers = objects.length === representations.length ? null : numbersOf(representations, objects);
  return errors.map((error) => {
    const [root, number, ...rest] = error.path ?? [];
    const right = root === "_entities" && typeof number === "number" ? numbers?.[number] : undefined;
    if (right === undefined || right === number) return error;
    return new GraphQLError(error.message, { path: ["_entities", right, ...rest], extensions: error.extensions });
  });
}

/** The objects at a path of a plan, in the executor's order: "@" stands for every element of a list, nulls are left out. */
export function objectsAt(value: unknown, path: Path): unknown[] {
  if (value === null || value === undefined) return [];
  const [head, ...rest] = path;
  if (head === undefined) return [value];
  if (Array.isArray(value)) return value.flatMap((element) => objectsAt(element, head === "@" ? rest : path));
  return typeof value === "object" && Object.hasOwn(value, head) ? objectsAt((value as Record<string, unknown>)[head], rest) : [];
}

/** For each representation the number of its object; null where one is not found. */
function numbersOf(representations: readonly unknown[], objects: readonly unknown[]): number[] | null {
  const numbers: number[] = [];
  let next = 0;
  for (const representation of representations) {
    while (next < objects.length && !isPartOf(representation, objects[next])) next += 1;
    if (next === objects.length) return null;
    numbers.push(next);
    next += 1;
  }
  return numbers;
}

function isPartOf(part: unknown, whole: unknown): boolean {
  if (typeof part !== "object" || part === null) return part === whole;
  if (typeof whole !== "object" || whole === null) return false;
  return Object.entries(part).every(([key, value]) => isPartOf(value, (whole as Record<string, unknown>)[key]));
}
