import t from 'tap';
import { formatSize, GiB, MiB, parseSize } from '../../lib/common/units.js';

t.test('sizes are read with their unit, in any case', async (t) => {
  t.equal(parseSize('512MiB'), 512 * MiB);
  t.equal(parseSize(' 4 gib '), 4 * GiB);
  t.equal(parseSize('1.5G'), 1.5 * GiB);
  t.equal(parseSize('2TiB'), 2048 * GiB);
  t.equal(parseSize('100k'), 100);
});

t.test('what is no size is refused with what to write instead', async (t) => {
  for (const text of ['', '512', 'MiB', '-1MiB', '1 potato', '1e9MiB', 'NaNMiB'])
    t.throws(() => parseSize(text), { name: 'RangeError', message: /512MiB or 4GiB/ });
  t.throws(() => parseSize('99999999999999TiB'), /too large/);
});

t.test('sizes are written so that people can read them', async (t) => {
  t.equal(formatSize(300 * MiB), '300MiB');
  t.equal(formatSize(4 * GiB), '4GiB');
  t.equal(formatSize(Number.NaN), '-');
  t.equal(formatSize(0), '0MiB');
});
