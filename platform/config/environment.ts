/** The environment for a program that is started: this process's own, with these on top. Secrets go this way, never as arguments. */
export function childEnvironment(extra: Record<string, string>): NodeJS.ProcessEnv {
  return { ...process.env, ...extra };
}
