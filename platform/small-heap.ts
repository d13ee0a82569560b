import { setFlagsFromString } from "node:v8";

/**
 * For a process that shares its machine with others' work, and is to take little of its memory rather than be fast: V8 else lets the space for
 * new objects grow 16-fold under load, and keeps garbage for tens of megabytes. To be called first of all.
 */
export function preferSmallHeap(): void {
  setFlagsFromString("--optimize-for-size");
}
