import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { allocate, type Claim, column, fill, sum, type Vessels } from '../../lib/policy/allocate.js';
import { CRITICAL_SPARE } from '../../lib/policy/limits.js';

const claimOf = (
  used: number,
  cushion: number,
  { effectiveFloor = 256 * MiB, ceiling = 2 * GiB, share = 1000, holds = used + cushion } = {},
): Claim => {
  const within = (size: number) => Math.min(ceiling, Math.max(effectiveFloor, size));
  return { used, critical: within(used + CRITICAL_SPARE), need: within(used + cushion), effectiveFloor, ceiling, share, holds };
};

const size = (least: number, most: number) => fc.integer({ min: least, max: most }).map((mib) => mib * MiB);

const claims = fc.array(
  fc
    .record({
      used: size(0, 4096),
      cushion: size(100, 512),
      floor: size(16, 512),
      room: size(0, 4096),
      share: fc.integer({ min: 1, max: 10_000 }),
      holds: size(0, 4096),
    })
    .map(({ used, cushion, floor, room, share, holds }) =>
      claimOf(used, cushion, { effectiveFloor: floor, ceiling: floor + room, share, holds }),
    ),
  { minLength: 1, maxLength: 500, size: 'max' },
);

const near = (a: number, b: number, tolerance = 1) => Math.abs(a - b) <= tolerance;

t.test('filling reaches the total exactly, within every bound', async (t) => {
  fc.assert(
    fc.property(claims, fc.double({ min: 0, max: 1.2, noNaN: true }), (all, part) => {
      const lower = column(all, ({ effectiveFloor }) => effectiveFloor);
      const upper = column(all, ({ ceiling }) => ceiling);
      const total = sum(upper) * part;
      const sizes = fill({ base: column(all, ({ used }) => used), share: column(all, ({ share }) => share), lower, upper }, total);
      const inBounds = sizes.every((size, i) => size >= (lower[i] ?? Number.NaN) && size <= (upper[i] ?? Number.NaN));
      return inBounds && near(sum(sizes), Math.min(sum(upper), Math.max(sum(lower), total)), 1e-3 * all.length);
    }),
  );
  t.pass('for random vessels');
});

/** Vessels of base, lower, upper and share. */
const vessels = (...rows: readonly (readonly [number, number, number, number])[]): Vessels => ({
  base: column(rows, ([base]) => base),
  lower: column(rows, ([, lower]) => lower),
  upper: column(rows, ([, , upper]) => upper),
  share: column(rows, ([, , , share]) => share),
});

t.test('two guests with shares of 1 and 3 get spare of 1 to 3', async (t) => {
  const sizes = fill(vessels([100, 0, 1000, 1], [200, 0, 1000, 3]), 700);
  t.same([...sizes].map(Math.round), [200, 500]);
});

t.test('where there is enough for all everyone has its upper bound to the last bit', async (t) => {
  // 0.1 + ((3.8 - 0.1) / 3) * 3 is a hair under 3.8.
  t.same([...fill(vessels([0.1, 0, 3.8, 3], [0, 0, 1, 1]), 10)], [3.8, 1]);
});

t.test('where rounding cannot tell the bounds of a vessel apart no other vessel is filled for it', async (t) => {
  t.same([...fill(vessels([1e18, 0, 1, 1], [0, 0, 1, 1]), 0.5)], [0, 0]);
});

t.test('where there is enough everyone gets its need and the rest stays with the host', async (t) => {
  const { state, sizes } = allocate([claimOf(300 * MiB, 120 * MiB), claimOf(700 * MiB, 120 * MiB)], 4 * GiB, 'host');
  t.equal(state, 'ample');
  t.same([...sizes], [420 * MiB, 820 * MiB]);
});

t.test('surplus: guests spreads what is left so that the spare is equal', async (t) => {
  const { state, sizes } = allocate([claimOf(300 * MiB, 120 * MiB), claimOf(700 * MiB, 120 * MiB)], 2 * GiB, 'guests');
  t.equal(state, 'ample');
  t.equal(sum(sizes), 2 * GiB);
  t.equal((sizes[0] ?? 0) - 300 * MiB, (sizes[1] ?? 0) - 700 * MiB);
});

t.test('contended: with equal shares the spare is equal to within 1 MiB for all guests at no bound', async (t) => {
  let contended = 0;
  fc.assert(
    fc.property(claims, fc.double({ min: 0, max: 1, noNaN: true }), (mixed, part) => {
      const all = mixed.map((claim) => ({ ...claim, share: 1000 }));
      const critical = all.reduce((a, c) => a + c.critical, 0);
      const need = all.reduce((a, c) => a + c.need, 0);
      const { state, sizes } = allocate(all, critical + part * (need - critical), 'host');
      if (state !== 'contended') return state === 'ample';
      contended++;
      const free = all.flatMap(({ critical: low, need: high, used }, i) => {
        const got = sizes[i] ?? Number.NaN;
        return got > low + 1 && got < high - 1 ? [got - used] : [];
      });
      return free.length === 0 || Math.max(...free) - Math.min(...free) <= MiB;
    }),
  );
  t.ok(contended > 10, `${contended} of the random hosts were contended`);
});

t.test('the allocation does not depend on the order of the guests', async (t) => {
  fc.assert(
    fc.property(claims, fc.double({ min: 0, max: 1.5, noNaN: true }), (all, part) => {
      const capacity = all.reduce((a, c) => a + c.need, 0) * part;
      const there = allocate(all, capacity, 'host').sizes;
      const back = allocate([...all].reverse(), capacity, 'host').sizes.reverse();
      return there.every((got, i) => near(got, back[i] ?? Number.NaN, 1e-3));
    }),
  );
  t.pass('for random hosts and their mirror images');
});

t.test(
  'no guest is given less than its floor or more than its ceiling, and the sum stays within the capacity where the floors do',
  async (t) => {
    fc.assert(
      fc.property(
        claims,
        fc.double({ min: 0, max: 1.5, noNaN: true }),
        fc.constantFrom('host' as const, 'guests' as const),
        (all, part, surplus) => {
          const capacity = all.reduce((a, c) => a + c.need, 0) * part;
          const { state, sizes } = allocate(all, capacity, surplus);
          const inBounds = all.every(({ effectiveFloor, ceiling }, i) => (sizes[i] ?? -1) >= effectiveFloor && (sizes[i] ?? -1) <= ceiling);
          return inBounds && (state === 'overcommitted' || sum(sizes) <= capacity + 1);
        },
      ),
    );
    t.pass('for random hosts');
  },
);

t.test('overcommitted: what one guest holds beyond its critical spare goes to the one with the least spare', async (t) => {
  const rich = claimOf(400 * MiB, 120 * MiB, { holds: 600 * MiB });
  const poor = claimOf(900 * MiB, 120 * MiB, { holds: 850 * MiB });
  const { state, sizes } = allocate([rich, poor], 1350 * MiB, 'host');
  t.equal(state, 'overcommitted');
  t.same([...sizes], [448 * MiB, 902 * MiB]);
});
