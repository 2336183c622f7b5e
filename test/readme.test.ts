import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parseConfig } from '../lib/config/config.js';
import { parseMetadata } from '../lib/config/metadata.js';
import { GUEST_SETTINGS, HOST_SETTINGS } from '../lib/config/settings.js';
import { plainly } from './environment.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = await readFile(join(root, 'README.md'), 'utf8');

t.test('the example program runs as it stands: it finds the guest, says so, and stops cleanly', async (t) => {
  const program = /<!-- example:begin -->\n```js\n([\s\S]*?)```\n<!-- example:end -->/.exec(readme)?.[1] ?? '';
  // In a folder of the package, 'memcoord' is the package itself, as compiled into dist.
  const file = join(t.testdir(), 'example.mjs');
  await writeFile(file, program);
  const child = spawn('env', plainly(process.execPath, file, 'test:///default'), { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (data) => {
    out += String(data);
    if (out.includes('1 guest(s)')) child.kill('SIGINT');
  });
  t.strictSame(await once(child, 'close'), [0, null]);
  t.match(out, /^test is here$/m);
  t.match(out, /^1 guest\(s\), \d+(MiB|GiB) of room for need, ample$/m);
});

t.test('the example configuration and metadata are allowed, and every setting is explained', async (t) => {
  const page = await readFile(join(root, 'docs/configuration.md'), 'utf8');
  const yaml = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const { guests } = parseConfig(yaml, 'docs/configuration.md');
  t.strictSame(
    guests.map(({ match }) => match),
    ['*', 'db-*', 'legacy'],
  );
  t.strictSame(parseMetadata(/--set '(<.*>)'/.exec(page)?.[1] ?? null), { overrides: { min: 512 * 1024, share: 2000 }, problems: [] });
  for (const key of Object.keys(HOST_SETTINGS)) t.match(page, new RegExp(`^\\| .*\`${key}\`.* \\|`, 'm'), key);
  for (const key of Object.keys(GUEST_SETTINGS)) t.match(yaml, `${key}:`, key);
});

t.test('all that set-up may install is named', async (t) => {
  const setup = await readFile(join(root, 'scripts/setup'), 'utf8');
  const packages = [...setup.matchAll(/^([\w.+-]+)\|.*\|/gm)].map(([, name]) => name ?? '').filter((name) => !/^clang-/.test(name));
  t.ok(packages.length >= 10);
  for (const name of packages) t.match(readme.slice(0, readme.indexOf('## Use it')), name, name);
});

t.test('files that it points at are there', async (t) => {
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path ?? '');
  t.ok(links.length >= 4);
  for (const link of links) await t.resolves(readFile(join(root, link)), link);
});
