import { capture, mustRun } from "../lib/child.mjs";

/**
 * What a contract is compared with: where the working tree has changed it, the last commit; else the commit before the one that
 * changed it last. Needs no branch and no remote, so that it says the same in every clone. Null where history has nothing earlier:
 * before the first commit that has the contract, and in a clone too shallow to reach it.
 */
export async function baseOf(path) {
  if ((await git(["rev-parse", "--verify", "--quiet", "HEAD"])) === null) return null;
  const changed = await git(["status", "--porcelain", "--", path]);
  if (changed !== "") return await withContract("HEAD", path);
  const last = await git(["log", "-1", "--format=%H", "--", path]);
  return last ? await withContract(`${last}^`, path) : null;
}

/** The content of a file as of that commit; null where it had none. */
export async function fileAt(commit, path) {
  const { code, stdout } = await capture("git", ["show", `${commit}:${path}`]);
  return code === 0 ? stdout.toString("utf8") : null;
}

/** Writes a folder as of that commit below `target`. */
export async function unpackAt(commit, path, target) {
  const { stdout } = await mustRun("git", ["archive", "--format=tar", commit, "--", path]);
  await mustRun("tar", ["-x", "-C", target], { input: stdout });
}

async function withContract(commit, path) {
  const id = await git(["rev-parse", "--verify", "--quiet", `${commit}^{commit}`]);
  if (id === null) return null;
  return (await git(["ls-tree", "--name-only", id, "--", path])) ? id : null;
}

async function git(args) {
  const { code, stdout } = await capture("git", args);
  return code === 0 ? stdout.toString("utf8").trim() : null;
}
