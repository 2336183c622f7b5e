import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { allocate, type Claim, column, fill, type Room, sum, type Vessels } from '../../lib/policy/allocate.js';
import { CRITICAL_SPARE } from '../../lib/policy/limits.js';

/** A guest that needs `spare` over what it uses, and should have a `cushion` on top. */
function claimOf(
  used: number,
  spare: number,
  { floor = 256 * MiB, ceiling = 2 * GiB, share = 1000, cushion = 0, ...given }: Partial<Claim> & { cushion?: number } = {},
): Claim {
  const holds = given.holds ?? used + spare + cushion;
  const within = (size: number) => Math.min(ceiling, Math.max(floor, size));
  const need = within(used + spare);
  return {
    used,
    critical: within(used + CRITICAL_SPARE),
    need,
    want: within(used + spare + cushion),
    floor,
    ceiling,
    share,
    holds,
    had: given.had ?? 0,
    kept: given.kept ?? 0,
  };
}

/** A host on which the guests together may have `total`, for need and for cushions. */
function roomFor(claims: readonly Claim[], total: number, optional = total): Room {
  const held = claims.reduce((all, { holds }) => all + holds, 0);
  return { room: total - held, reliefRoom: total - held, optionalRoom: optional - held, newcomer: 0, shortage: Math.max(0, held - total) };
}

const size = (least: number, most: number) => fc.integer({ min: least, max: most }).map((mib) => mib * MiB);

const claims = fc.array(
  fc
    .record({
      used: size(0, 4096),
      spare: size(100, 512),
      cushion: size(0, 512),
      floor: size(16, 512),
      room: size(0, 4096),
      share: fc.integer({ min: 1, max: 10_000 }),
      holds: size(0, 4096),
    })
    .map(({ used, spare, room, ...rest }) => claimOf(used, spare, { ceiling: rest.floor + room, ...rest })),
  { minLength: 1, maxLength: 500, size: 'max' },
);

const near = (a: number, b: number, tolerance = 1) => Math.abs(a - b) <= tolerance;

t.test('filling reaches the total exactly, within every bound', async (t) => {
  fc.assert(
    fc.property(claims, fc.double({ min: 0, max: 1.2, noNaN: true }), (all, part) => {
      const lower = column(all, ({ floor }) => floor);
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

t.test('where the bounds of a vessel are the same after rounding no other vessel is filled for it', async (t) => {
  t.same([...fill(vessels([1e18, 0, 1, 1], [0, 0, 1, 1]), 0.5)], [0, 0]);
});

t.test('where there is room everyone gets its need and its cushion, and the rest stays with the host', async (t) => {
  const claims = [
    claimOf(300 * MiB, 100 * MiB, { cushion: 20 * MiB, holds: 350 * MiB }),
    claimOf(700 * MiB, 100 * MiB, { cushion: 20 * MiB, holds: 1200 * MiB }),
  ];
  const { state, sizes } = allocate(claims, roomFor(claims, 4 * GiB), 'host');
  t.equal(state, 'ample');
  t.same([...sizes], [420 * MiB, 820 * MiB]);
});

t.test('surplus: guests spreads what is left so that the spare is equal', async (t) => {
  const claims = [claimOf(300 * MiB, 120 * MiB), claimOf(700 * MiB, 120 * MiB)];
  const { state, sizes } = allocate(claims, roomFor(claims, 2 * GiB), 'guests');
  t.equal(state, 'ample');
  t.equal(sum(sizes), 2 * GiB);
  t.equal((sizes[0] ?? 0) - 300 * MiB, (sizes[1] ?? 0) - 700 * MiB);
});

t.test('surplus: guests leaves what a guest that is started next can take before others give', async (t) => {
  const claims = [claimOf(300 * MiB, 120 * MiB), claimOf(700 * MiB, 120 * MiB)];
  const { sizes } = allocate(claims, { ...roomFor(claims, 2 * GiB), newcomer: 400 * MiB }, 'guests');
  t.equal(sum(sizes), 2 * GiB - 400 * MiB);
});

t.test('surplus: guests spreads nothing while there is room for need alone', async (t) => {
  const claims = [claimOf(300 * MiB, 120 * MiB, { holds: 400 * MiB }), claimOf(700 * MiB, 120 * MiB)];
  const { sizes } = allocate(claims, { room: 8 * GiB, reliefRoom: 8 * GiB, optionalRoom: -8 * GiB, newcomer: 0, shortage: 0 }, 'guests');
  t.same([...sizes], [420 * MiB, 820 * MiB]);
});

t.test('no room for cushions takes from nobody, and need is paid beside it', async (t) => {
  const claims = [
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB }),
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB, holds: 420 * MiB }),
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB, holds: 330 * MiB }),
  ];
  const { state, sizes } = allocate(
    claims,
    { room: 100 * MiB, reliefRoom: 100 * MiB, optionalRoom: -8 * GiB, newcomer: 0, shortage: 0 },
    'host',
  );
  t.equal(state, 'ample');
  t.same([...sizes], [480 * MiB, 420 * MiB, 400 * MiB]);
});

t.test(
  'what a guest had before comes back out of the room that need leaves, more than that only out of what is left if all take all',
  async (t) => {
    const claims = [
      claimOf(300 * MiB, 100 * MiB, { cushion: 200 * MiB, holds: 400 * MiB, had: 500 * MiB }),
      claimOf(300 * MiB, 100 * MiB, { cushion: 200 * MiB, holds: 380 * MiB, had: 380 * MiB }),
    ];
    const rooms = { room: 400 * MiB, reliefRoom: 400 * MiB, optionalRoom: -8 * GiB, newcomer: 0, shortage: 0 };
    t.same([...allocate(claims, rooms, 'host').sizes], [500 * MiB, 400 * MiB]);
    t.same([...allocate(claims, { ...rooms, room: 60 * MiB }, 'host').sizes], [440 * MiB, 400 * MiB]);
  },
);

t.test('what there is for cushions goes to those with the least spare', async (t) => {
  const claims = [
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB, holds: 400 * MiB }),
    claimOf(500 * MiB, 100 * MiB, { cushion: 80 * MiB, holds: 640 * MiB }),
  ];
  const { sizes } = allocate(claims, { room: 8 * GiB, reliefRoom: 8 * GiB, optionalRoom: 60 * MiB, newcomer: 0, shortage: 0 }, 'host');
  t.same([...sizes], [450 * MiB, 650 * MiB]);
});

t.test('cushions give where need cannot be paid, and no more than it lacks', async (t) => {
  const claims = [
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB }),
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB }),
    claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB, holds: 330 * MiB }),
  ];
  const { state, sizes } = allocate(
    claims,
    { room: 10 * MiB, reliefRoom: 10 * MiB, optionalRoom: -8 * GiB, newcomer: 0, shortage: 0 },
    'host',
  );
  t.equal(state, 'ample');
  t.same([...sizes], [450 * MiB, 450 * MiB, 400 * MiB]);
});

t.test('nobody is taken below its need while the need of all can be paid from room and cushions', async (t) => {
  fc.assert(
    fc.property(claims, fc.double({ min: -0.5, max: 0.5, noNaN: true }), fc.boolean(), (all, part, short) => {
      const room = Math.round(part * all.reduce((a, { holds }) => a + holds, 0));
      const { state, sizes } = allocate(
        all,
        { room, reliefRoom: room, optionalRoom: room - GiB, newcomer: 0, shortage: short ? Math.max(0, -room) : 0 },
        'host',
      );
      const enough = sum(column(all, ({ need }) => need)) <= sum(column(all, ({ holds }) => holds)) + room;
      if (enough && state !== 'ample') return false;
      return state !== 'ample' || all.every(({ need }, i) => (sizes[i] ?? Number.NaN) >= need - 1);
    }),
  );
  t.pass('for random hosts');
});

t.test('contended: with equal shares the spare is equal to within 1 MiB for all guests at no bound', async (t) => {
  let contended = 0;
  fc.assert(
    fc.property(claims, fc.double({ min: 0, max: 1, noNaN: true }), (mixed, part) => {
      const all = mixed.map((claim) => ({ ...claim, share: 1000 }));
      const critical = all.reduce((a, c) => a + c.critical, 0);
      const need = all.reduce((a, c) => a + c.need, 0);
      const { state, sizes } = allocate(all, roomFor(all, critical + part * (need - critical)), 'host');
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
      const optional = capacity - GiB;
      const there = allocate(all, roomFor(all, capacity, optional), 'host').sizes;
      const back = allocate([...all].reverse(), roomFor(all, capacity, optional), 'host').sizes.reverse();
      return there.every((got, i) => near(got, back[i] ?? Number.NaN, 1e-3));
    }),
  );
  t.pass('for random hosts and their mirror images');
});

t.test('no guest is given less than its floor or more than its ceiling, and all together no more than there is', async (t) => {
  const parts = fc.tuple(fc.double({ min: 0, max: 1.5, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }));
  let short = 0;
  fc.assert(
    fc.property(claims, parts, fc.constantFrom('host' as const, 'guests' as const), (all, [part, optional], surplus) => {
      const total = all.reduce((a, c) => a + c.need, 0) * part;
      const room = roomFor(all, total, total * optional);
      const { state, sizes } = allocate(all, room, surplus);
      const inBounds = all.every(({ floor, ceiling }, i) => (sizes[i] ?? -1) >= floor && (sizes[i] ?? -1) <= ceiling);
      if (room.shortage > 0) short++;
      return inBounds && (state === 'overcommitted' || sum(sizes) <= total + 1);
    }),
  );
  t.ok(short > 10, `${short} of the random hosts were short`);
});

t.test('overcommitted: what one guest holds beyond its critical spare goes to the one with the least spare', async (t) => {
  const holder = claimOf(400 * MiB, 120 * MiB, { holds: 600 * MiB });
  const starving = claimOf(900 * MiB, 120 * MiB, { holds: 850 * MiB });
  const { state, sizes } = allocate([holder, starving], roomFor([holder, starving], 1350 * MiB), 'host');
  t.equal(state, 'overcommitted');
  t.same([...sizes], [448 * MiB, 902 * MiB]);
});

t.test('what cannot be had from one now the others are asked for, and that alone is no overcommitment', async (t) => {
  const claims = [
    claimOf(300 * MiB, 100 * MiB, { holds: 1000 * MiB, kept: 1000 * MiB }),
    claimOf(700 * MiB, 100 * MiB),
    claimOf(500 * MiB, 200 * MiB),
  ];
  const { state, sizes } = allocate(claims, roomFor(claims, 2330 * MiB), 'host');
  t.equal(state, 'contended');
  t.same(
    [...sizes].map((size) => size / MiB),
    [1000, 765, 565],
  );
});

t.test('what the host is about to lack cushions give, whatever room there is yet', async (t) => {
  const claims = [claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB }), claimOf(300 * MiB, 100 * MiB, { cushion: 80 * MiB })];
  const { sizes } = allocate(claims, { ...roomFor(claims, 1200 * MiB), shortage: 40 * MiB }, 'host');
  t.same(
    [...sizes].map((size) => size / MiB),
    [460, 460],
  );
});
