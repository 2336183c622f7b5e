import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { plainly } from '../environment.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const execute = promisify(execFile);

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** npm says things of its own on stdout around the JSON: what the scripts that it runs print. */
function jsonIn(text: string): readonly Packed[] {
  return JSON.parse(text.slice(text.lastIndexOf('\n[') + 1)) as readonly Packed[];
}

/**
 * npm's overrides to the versions of our lock file, one level of nesting included. Set-up has fetched these, so the test needs no network.
 */
async function lockedVersions(): Promise<Record<string, Record<string, string>>> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; dev?: boolean }>;
  };
  const overrides: Record<string, Record<string, string>> = {};
  for (const [path, { version, dev }] of Object.entries(packages)) {
    const [, name, inner = '.'] = path.split(/(?:^|\/)node_modules\//);
    if (name !== undefined && dev !== true) overrides[name] = { ...overrides[name], [inner]: version };
  }
  return overrides;
}

t.test('the packed tarball, installed into an empty folder, has what it must and no more, and runs', async (t) => {
  const folder = t.testdir({ 'package.json': JSON.stringify({ private: true, overrides: await lockedVersions() }) });
  const npm = (cwd: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> =>
    execute('env', plainly('npm', ...args), { cwd });

  const [packed] = jsonIn((await npm(root, 'pack', '--json', '--pack-destination', folder)).stdout);
  const paths = packed?.files.map(({ path }) => path) ?? [];
  const strays = paths.filter(
    (path) =>
      !/^(dist\/.*\.(js|d\.ts)|prebuilds\/.*\.node|docs\/50-memcoord\.rules|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/.test(path),
  );
  t.strictSame(strays, []);
  for (const must of [
    'dist/index.js',
    'dist/index.d.ts',
    'dist/cli/main.js',
    'dist/sim/simulate.js',
    'docs/50-memcoord.rules',
    'LICENSE',
    'README.md',
    'CHANGELOG.md',
  ])
    t.ok(paths.includes(must), must);
  t.equal(paths.filter((path) => path.endsWith('.node')).length, 1);

  await npm(
    folder,
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--strict-allow-scripts',
    join(folder, packed?.filename ?? ''),
  );
  const memcoord = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
    execute('env', plainly('npx', 'memcoord', ...args), { cwd: folder });
  t.match((await memcoord('--version')).stdout, /^\d+\.\d+\.\d+\n$/);
  t.match((await memcoord('--help')).stdout, /^Usage: memcoord /);
  const { stdout, stderr } = await memcoord('status', '-c', 'test:///default');
  t.match(stdout, /\nGUEST .*\ntest /);
  t.notMatch(stderr, 'memcoord:', 'npx may warn of its own settings, the command has nothing to complain of');
  const program = "const { plan, open } = await import('memcoord'); console.log(typeof plan, typeof open);";
  t.equal(
    (await execute('env', plainly(process.execPath, '--input-type=module', '-e', program), { cwd: folder })).stdout,
    'function function\n',
  );
});
