/**
 * Arguments of env(1) that run a command as a user's shell would: without what npm and the test runner put into the environment. The
 * runner puts its coverage back into that of whatever is spawned, so that only a program in between keeps it out.
 */
export function plainly(command: string, ...args: readonly string[]): string[] {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS$|NODE_V8_COVERAGE$|_?TAP)/i.test(name));
  return ['-i', ...kept.map(([name, value]) => `${name}=${value}`), command, ...args];
}
