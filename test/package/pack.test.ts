import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
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

/** A file that npm reads or writes. */
async function json(file: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(root, file), 'utf8')) as Record<string, unknown>;
}

/**
 * What `npm ci` needs to install our tarball and nothing else, with the versions of our lock file. Set-up has these in npm's cache, so that
 * the test needs no network.
 */
async function projectAround(tarball: string): Promise<Record<'package.json' | 'package-lock.json', string>> {
  const { name, version, dependencies, bin, engines } = await json('package.json');
  const project = { private: true, dependencies: { [String(name)]: `file:${tarball}` } };
  const { packages, ...lock } = (await json('package-lock.json')) as { packages: Record<string, { dev?: boolean }> };
  const used = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true);
  const ours = { version, resolved: `file:${tarball}`, dependencies, bin, engines };
  const installed = { '': project, [`node_modules/${String(name)}`]: ours, ...Object.fromEntries(used) };
  return { 'package.json': JSON.stringify(project), 'package-lock.json': JSON.stringify({ ...lock, packages: installed }) };
}

t.test('the packed tarball, installed into an empty folder, has what it must and no more, and runs', async (t) => {
  const folder = t.testdir({});
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

  for (const [file, text] of Object.entries(await projectAround(packed?.filename ?? ''))) await writeFile(join(folder, file), text);
  await npm(folder, 'ci', '--offline', '--no-audit', '--no-fund', '--strict-allow-scripts');
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
