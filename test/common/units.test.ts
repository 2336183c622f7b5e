import t from 'tap';
import { amountOf, formatAmount, formatSize, GiB, isMore, MiB, parseAmount, parseSize } from '../../lib/common/units.js';

t.test('sizes are read with their unit, in any case', async (t) => {
  t.equal(parseSize('512MiB'), 512 * MiB);
  t.equal(parseSize(' 4 gib '), 4 * GiB);
  t.equal(parseSize('1.5G'), 1.5 * GiB);
  t.equal(parseSize('2TiB'), 2048 * GiB);
  t.equal(parseSize('100k'), 100);
});

t.test('sizes are read as virsh reads them: GB by 1000, G and GiB by 1024, rounded up to a KiB', async (t) => {
  t.equal(parseSize('8G'), 8 * GiB);
  t.equal(parseSize('8GB'), 7_812_500);
  t.equal(parseSize('8gb'), 7_812_500);
  t.equal(parseSize('8GiB'), 8 * GiB);
  t.equal(parseSize('8192M'), 8 * GiB);
  t.equal(parseSize('1500MB'), 1_464_844, 'virsh -c test:///default setmem test 1500MB');
  t.equal(parseSize('30KB'), 30);
  t.equal(parseSize('1PB'), 976_562_500_000);
  t.equal(parseSize('1E'), 2 ** 50);
});

t.test('an amount is a size or a percentage', async (t) => {
  t.equal(parseAmount('4GiB'), 4 * GiB);
  t.strictSame(parseAmount(' 12.5 % '), { percent: 12.5 });
  t.throws(() => parseAmount('100.1%'), { name: 'RangeError', message: /up to 100%/ });
  for (const text of ['%', '-1%', '1e1%', '5%%']) t.throws(() => parseAmount(text), { name: 'RangeError' });
  t.equal(amountOf({ percent: 25 }, 4 * GiB), GiB);
  t.equal(amountOf(GiB, 4 * GiB), GiB);
  t.equal(formatAmount({ percent: 12.5 }), '12.5%');
  t.equal(formatAmount(GiB), '1GiB');
});

t.test('one amount is known to be more than another of its kind only', async (t) => {
  t.equal(isMore(2 * GiB, GiB), true);
  t.equal(isMore({ percent: 50 }, { percent: 25 }), true);
  t.equal(isMore({ percent: 25 }, { percent: 25 }), false);
  t.equal(isMore({ percent: 50 }, GiB), false);
  t.equal(isMore(GiB, { percent: 50 }), false);
});

t.test('what is no size is refused with what to write instead', async (t) => {
  for (const text of ['', '512', 'MiB', '-1MiB', '1 potato', '1e9MiB', 'NaNMiB', '8Gi', '8i', '8bytes'])
    t.throws(() => parseSize(text), { name: 'RangeError', message: /512MiB or 4GiB/ });
  t.throws(() => parseSize('99999999999999TiB'), /too large/);
});

t.test('sizes are written so that people can read them', async (t) => {
  t.equal(formatSize(300 * MiB), '300MiB');
  t.equal(formatSize(4 * GiB), '4GiB');
  t.equal(formatSize(Number.NaN), '-');
  t.equal(formatSize(0), '0MiB');
});
