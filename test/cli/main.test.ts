import { spawn } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'lib/cli/main.ts');

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs Node until it ends, without a terminal. */
function node(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (data) => {
      out += String(data);
    });
    child.stderr.on('data', (data) => {
      err += String(data);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

const memcoord = (...args: string[]): Promise<Ended> => node([...process.execArgv, main, ...args]);

t.test('help and version need commander and nothing else: neither the addon nor the rest is loaded', async (t) => {
  // All that there is, is the dispatcher: whatever else it loaded would be missing.
  const bare = t.testdir({ dist: { cli: {} }, node_modules: {} });
  await symlink(join(root, 'node_modules/commander'), join(bare, 'node_modules/commander'));
  await writeFile(join(bare, 'package.json'), '{"type":"module","version":"1.2.3"}');
  for (const name of ['main', 'version']) {
    const source = await readFile(join(root, `lib/cli/${name}.ts`), 'utf8');
    const { outputText } = transpileModule(source, { compilerOptions: { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 } });
    await writeFile(join(bare, `dist/cli/${name}.js`), outputText);
  }
  const file = join(bare, 'dist/cli/main.js');
  t.strictSame(await node([file, '--version']), { code: 0, out: '1.2.3\n', err: '' });
  const help = await node([file, '--help']);
  t.equal(help.code, 0);
  for (const word of ['run', 'release', 'status', 'monitor', 'doctor', 'Exit codes']) t.match(help.out, word);
  for (const command of ['run', 'release', 'status', 'monitor', 'doctor']) {
    const { code, out } = await node([file, command, '--help']);
    t.equal(code, 0);
    t.match(out, new RegExp(`^Usage: memcoord ${command} .*\n`));
    t.match(out, '--connect <uri>');
  }
  t.equal((await node([file, 'status'])).code, 1, 'a command does need the rest');
});

t.test('wrong use exits with 2, and says on stderr what is wrong', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [['--nonsense'], /unknown option '--nonsense'/],
    [['stauts'], /unknown command 'stauts': the commands are run, release, status, monitor, doctor and simulate/],
    [['a\x1b[31m\nb'], /unknown command 'a\?\[31m\?b'/],
    [['status', '--pol', '8GiB'], /unknown option '--pol'\n\(Did you mean --pool\?\)/],
    [['run', '--log-format', 'xml'], /Allowed choices are pretty, json/],
    [['run', '--on-exit', 'kep'], /^memcoord: option --on-exit: 'kep' is not one of: keep, restore\n$/],
    [['run', '--interval', '0'], /^memcoord: option --interval: '0' is not a time in seconds from 0\.1 to 3600\n$/],
    [['status', '--config', '/nonexistent'], /^memcoord: \/nonexistent: cannot be read: /],
    [['monitor', '--count', 'many'], /option --count/],
    [['monitor', 'extra'], /too many arguments/],
  ];
  await Promise.all(
    cases.map(async ([args, message]) => {
      const { code, out, err } = await memcoord(...args);
      t.equal(code, 2, args.join(' '));
      t.equal(out, '');
      t.match(err, message);
    }),
  );
});
