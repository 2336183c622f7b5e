import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { type Figures, isNonsense, reported } from '../../lib/sim/figures.js';

const figures = (at: number, more: Partial<Figures> = {}): Figures => ({
  unused: 6 * GiB,
  usable: 5 * GiB,
  available: 8 * GiB,
  caches: GiB,
  swapIn: 300 * MiB,
  swapOut: 0,
  majorFault: 1000,
  at,
  clockSet: 0,
  ...more,
});

t.test('honest figures are reported as they are, and so are those of Windows', async (t) => {
  const { at: _at, clockSet: _clockSet, ...all } = figures(0);
  t.match(reported(undefined, figures(0), null), all);
  t.match(reported('windows', figures(0), null), all);
});

t.test('an old driver reports nothing above 4 GiB', async (t) => {
  const { unused, usable, available, caches } = reported('win32', figures(0), null);
  t.ok([unused, usable, available].every((size) => size < 4 * GiB && size > 4 * GiB - MiB));
  t.equal(caches, GiB);
});

t.test('an old kernel reports no MemAvailable', async (t) => {
  t.match(reported('nousable', figures(0), null), { unused: 6 * GiB, usable: Number.NaN, caches: Number.NaN });
});

t.test('counters that are rates fall at any time', async (t) => {
  const counts = Array.from({ length: 30 }, (_, i) => reported('rates', figures(1000 * i), figures(1000 * (i - 1))));
  t.ok(counts.every(({ swapIn, majorFault }) => swapIn === 0 && majorFault < 100));
  t.ok(counts.some(({ majorFault }, i) => majorFault < (counts[i - 1]?.majorFault ?? 0)));
  t.equal(reported('rates', figures(2000, { swapIn: 350 * MiB }), figures(1000)).swapIn, 50 * MiB);
});

t.test('counters of 32 bits wrap', async (t) => {
  const faults = Array.from({ length: 60 }, (_, i) => reported('wrap', figures(1000 * i), null).minorFault);
  t.ok(faults.every((count) => count >= 0 && count < 2 ** 32));
  t.equal(faults.filter((count, i) => count < (faults[i - 1] ?? 0)).length, 1);
});

t.test('nonsense is told from figures of another kind', async (t) => {
  t.ok(isNonsense('none') && isNonsense('huge') && isNonsense('greedy'));
  t.notOk(isNonsense() || isNonsense('windows') || isNonsense('rates'));
});
