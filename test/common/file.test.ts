import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { readFileOf } from '../../lib/common/file.js';

t.test('a file is read whole up to the limit, and refused beyond it, whatever size it is said to have', async (t) => {
  const path = join(t.testdir({ file: 'äbc' }), 'file');
  t.equal(await readFileOf(path, 4), 'äbc');
  await t.rejects(readFileOf(path, 3), /more than 3 bytes/);
  t.match(await readFileOf('/proc/self/status', 100_000), /^Name:/, 'one of /proc is said to be empty');
  await t.rejects(readFileOf('/proc/self/status', 10), /more than 10 bytes/);
});

t.test('what may never come to an end, or never begin, is refused at once', async (t) => {
  const folder = t.testdir();
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  await t.rejects(readFileOf(pipe, 100), /a pipe, and only a regular file is read/);
  await t.rejects(readFileOf('/dev/zero', 100), /a device/);
  await t.rejects(readFileOf(folder, 100), /a folder/);
  await t.rejects(readFileOf(join(folder, 'none'), 100), { code: 'ENOENT' });
});
