import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 100;
const GIVE_UP_MS = 10 * 60_000;

/**
 * Does the work while no other process of this machine holds the same lock file, so that two commands started together
 * (`npm start` and `npm test`) do not write dist/ at once. The lock of a process that is gone is taken over.
 */
export async function exclusively(lockFile, work) {
  mkdirSync(dirname(lockFile), { recursive: true });
  const giveUpAt = Date.now() + GIVE_UP_MS;
  while (!tryTake(lockFile)) {
    if (Date.now() > giveUpAt)
      throw new Error(`${lockFile} is held by process ${holder(lockFile)} for too long; remove it if that is wrong`);
    await sleep(POLL_MS);
  }
  try {
    return await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

function tryTake(lockFile) {
  try {
    writeFileSync(lockFile, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  const pid = holder(lockFile);
  if (pid !== null && !isAlive(pid)) rmSync(lockFile, { force: true });
  return false;
}

function holder(lockFile) {
  try {
    const pid = Number(readFileSync(lockFile, "utf8"));
    return pid > 0 ? pid : null;
  } catch {
    return null;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
