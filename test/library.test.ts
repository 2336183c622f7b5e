import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { plainly } from './environment.js';

const text = await readFile(join(fileURLToPath(new URL('..', import.meta.url)), 'docs/library.md'), 'utf8');
const programs = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, program = '']) => program);

t.test('each program of docs/library.md runs as it stands', async (t) => {
  t.equal(programs.length, 3);
  const run = async (program = '', ...args: readonly string[]) => {
    // In a folder of the package, 'memcoord' is the package itself, as compiled into dist.
    const file = join(t.testdir(), 'example.mjs');
    await writeFile(file, program);
    return (await promisify(execFile)('env', plainly(process.execPath, file, ...args))).stdout;
  };
  t.match(await run(programs[0], 'test:///default'), /^running: 1 guest\(s\)$/m);
  t.match(await run(programs[1]), /^2 s: busy 512MiB to \d+MiB \(need\)$/m);
  const simulated = await run(programs[2]);
  t.match(simulated, /^0 rules violated$/m);
  t.match(simulated, /^eats: killed 0 times, unmanaged 1 times$/m);
});
