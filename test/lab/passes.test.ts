import t from 'tap';
import { cacheTests } from './cache.js';
import {
  type CacheRecording,
  isCached,
  isSmaller,
  keepsPace,
  median,
  type Pass,
  parsePasses,
  readsLittle,
  shrinks,
  smallerAfter,
} from './passes.js';

const MiB = 1024;
const GiB = 1024 * MiB;

/** Passes that follow one another from `t` on, on a machine that always takes a second for the yardstick. */
function passes(t: number, ...took: readonly number[]): Pass[] {
  let end = t;
  return took.map((s) => {
    end += s;
    return { t: end, took: s, yardstick: 1 };
  });
}

/** Unmanaged until 20 s, managed from 20 to 320 s; sizes in MiB, read in MiB, both by guest and by second since the coordinator began. */
function recording(of: readonly (readonly Pass[])[], size: (guest: number, s: number) => number, read = (_: number) => 0): CacheRecording {
  const nothing = of.map(() => Number.NaN);
  const samples = Array.from({ length: 322 }, (_, t) => ({
    t,
    actual: of.map((_, guest) => size(guest, t - 20) * MiB),
    unused: nothing,
    usable: nothing,
    swapIn: nothing,
    swapOut: nothing,
    read: of.map(() => read(t - 20) * MiB),
  }));
  const guests = of.map((_, guest) => `vm${guest}`);
  return { name: 'reader', pool: 4 * GiB, guests, unmanaged: 20, begun: 20, ended: 320, passes: of, samples, moves: [] };
}

/** From the disk, three times out of the cache; then what took `took` each until the end. */
const reader = (...took: readonly number[]): Pass[] => [...passes(0, 12.5, 2, 2, 2), ...passes(225, ...took)];
const full = () => 2048;

t.test('passes are read out of the answer of the agent', async (t) => {
  t.strictSame(parsePasses('500:12500:120 0:1734:95', 20), [
    { t: 19.5, took: 12.5, yardstick: 0.12 },
    { t: 20, took: 1.734, yardstick: 0.095 },
  ]);
  t.strictSame(parsePasses('', 20), []);
});

t.test('a median is of the values in the middle, and nothing has none', async (t) => {
  t.equal(median([9, 1, 2]), 2);
  t.equal(median([9, 1, 2, 4]), 3);
  t.ok(Number.isNaN(median([])));
});

t.test('a pass is compared with the unmanaged ones, without the first, and only at the end of the test', async (t) => {
  const pace = (...took: number[]) => keepsPace(recording([reader(...took)], full), 0, 1.2);
  t.match(pace(2.4, 2.2, 9), {
    ok: true,
    detail: '2.4 s (of 3) and 2.40 yardsticks, unmanaged 2.0 s (of 3) and 2.00 yardsticks: 1.20 times',
  });
  t.match(pace(2.6, 2.5, 2), { ok: false });
  t.match(pace(), { ok: false }, 'no pass at all');
  const early = [...passes(0, 12.5, 2, 2, 2), ...passes(100, 9, 9, 9), ...passes(300, 2)];
  t.match(keepsPace(recording([early], full), 0, 1.2), { ok: true }, 'what was before the steady state does not count');
});

t.test('a machine that is slower for a while makes no pass slower, and one that is faster hides none', async (t) => {
  const pace = (took: number, speed: number) => {
    const later = passes(300, took / speed, took / speed).map((pass) => ({ ...pass, yardstick: 1 / speed }));
    return keepsPace(recording([[...passes(0, 12.5, 2, 2, 2), ...later]], full), 0, 1.2);
  };
  t.match(pace(2, 0.5), { ok: true, detail: /: 1\.00 times$/ });
  t.match(pace(2.6, 2), { ok: false, detail: /: 1\.30 times$/ });
});

t.test('passes out of the cache that are as slow as the disk, or a disk that is too fast, prove nothing', async (t) => {
  const cached = (...took: number[]) => isCached(recording([passes(0, ...took)], full), 0, 12.5);
  t.match(cached(12.6, 2, 2), { ok: true, detail: 'the first 12.6 s, the next ones 2.0 s (of 2)' });
  t.match(cached(12.6, 7, 6.5), { ok: false });
  t.match(cached(3, 1, 1), { ok: false });
  t.match(cached(12.6), { ok: false });
});

t.test('what is read from the disk counts from when the coordinator began until it ended', async (t) => {
  const read = (rate: number) =>
    readsLittle(
      recording([reader()], full, (s) => 1000 + rate * s),
      0,
      2.5 * GiB,
    );
  t.match(read(8), { ok: true, detail: '2.34 GiB in 300 s, in a balloon of 2048 MiB at least, 2048 MiB at last' });
  t.match(read(9), { ok: false });
  t.match(read(Number.NaN), { ok: false });
});

t.test('a guest that grows again has not become small', async (t) => {
  const shrink = (size: (s: number) => number) =>
    shrinks(
      recording([[]], (_, s) => size(s)),
      0,
      700 * MiB,
      200,
    );
  t.match(
    shrink((s) => (s < 100 ? 2048 : 600)),
    { ok: true, detail: '600 MiB after 300 s, under it after 100 s' },
  );
  t.match(
    shrink((s) => (s < 201 ? 2048 : 600)),
    { ok: false },
  );
  t.match(
    shrink((s) => (s < 100 || s > 250 ? 2048 : 600)),
    { ok: false, detail: '2048 MiB after 300 s, not' },
  );
  t.match(
    shrink(() => Number.NaN),
    { ok: false },
  );
  t.equal(
    smallerAfter(
      recording([[]], () => 600),
      0,
      700 * MiB,
    ),
    0,
  );
});

t.test('the one that pays is smaller all the time at the end', async (t) => {
  const smaller = (cold: (s: number) => number) =>
    isSmaller(
      recording([[], []], (guest, s) => (guest === 0 ? 1200 : cold(s))),
      1,
      0,
    );
  t.match(
    smaller((s) => (s < 200 ? 1300 : 700)),
    { ok: true, detail: 'vm1 700 MiB to 700 MiB, vm0 1200 MiB to 1200 MiB' },
  );
  t.match(
    smaller((s) => (s < 250 ? 1300 : 700)),
    { ok: false },
  );
  t.match(
    smaller(() => Number.NaN),
    { ok: false },
  );
});

t.test('tests are chosen by name, or all at once', async (t) => {
  const chosen = (test: string | undefined) => cacheTests(test).map(({ name }) => name);
  t.strictSame(chosen('cache'), ['apart', 'reader', 'idle', 'both']);
  t.strictSame(chosen('idle'), ['idle']);
  t.strictSame(chosen('2'), []);
  t.strictSame(chosen(undefined), []);
});
