import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { nextSample } from '../../lib/policy/demand.js';
import { charge, isControlled } from '../../lib/policy/guest.js';
import { CRITICAL_SPARE } from '../../lib/policy/limits.js';
import { type Plan, plan } from '../../lib/policy/plan.js';
import * as sweep from '../../lib/sweep.js';
import { guest, World } from '../policy/world.js';

/** What a guest can say, through QEMU, which checks none of it. */
const REPORTED = [
  sweep.ACTUAL,
  sweep.UNUSED,
  sweep.AVAILABLE,
  sweep.USABLE,
  sweep.DISK_CACHES,
  sweep.SWAP_IN,
  sweep.SWAP_OUT,
  sweep.MAJOR_FAULT,
  sweep.MINOR_FAULT,
] as const;
/** What libvirt and the host say of it. */
const KNOWN = [
  sweep.STATUS,
  sweep.ERROR,
  sweep.STATE,
  sweep.RSS,
  sweep.RSS_FILE,
  sweep.LAST_UPDATE,
  sweep.READ_AT,
  sweep.REFRESHED,
  sweep.CPU_TIME,
  sweep.READS,
] as const;

/** QEMU subtracts what the guest says from its memory without a check of the sign: what is reported may be near 2^64 bytes, and its unit is the KiB. */
const figure = fc.oneof(fc.constantFrom(Number.NaN, 0, -1, 1, 2 ** 54, 2 ** 63, 2 ** 64), fc.integer({ min: -4 * GiB, max: 8 * GiB }));
const plausible = fc.integer({ min: 0, max: 2 * GiB });

interface Lie {
  readonly row: number;
  readonly field: number;
  readonly value: number;
}

/** Samples with these figures in place of the true ones. */
function readThrough(world: World, lies: readonly Lie[], ms = 1000): Plan {
  const sample = world.see(ms);
  for (const { row, field, value } of lies) sample.sweep.figures[row * sweep.STRIDE + field] = value;
  const made = plan(world.model, sample, world.config);
  world.model = made.model;
  return made;
}

const lies = (rows: number, fields: readonly number[], values = figure) =>
  fc.array(fc.record({ row: fc.nat(rows - 1), field: fc.constantFrom(...fields), value: values }), { maxLength: 12 });

t.test('whatever the figures, a plan is made, and every target is whole, over 0 and no more than the maximum', async (t) => {
  let moved = 0;
  const rounds = fc.array(lies(4, [...REPORTED, ...KNOWN], fc.oneof(figure, plausible)), { minLength: 4, maxLength: 12 });
  const settings = fc.record({
    surplus: fc.constantFrom('host' as const, 'guests' as const),
    signal: fc.constantFrom('usable' as const, 'unused' as const),
  });
  fc.assert(
    fc.property(rounds, settings, fc.integer({ min: 200 * MiB, max: 8 * GiB }), (reported, { surplus, signal }, maximum) => {
      const guests = ['a', 'b', 'c', 'd'].map((name, i) =>
        guest(name, { maximum, actual: Math.round(maximum * 0.25 * (i + 1)), cpu: i % 2 === 0 ? 0 : Number.NaN }),
      );
      const world = new World(guests, { surplus, signal, pool: 4 * GiB });
      for (const round of reported) {
        const { moves, account, model } = readThrough(world, round);
        moved += moves.length;
        if (!moves.every(({ to }) => Number.isInteger(to) && to > 0 && to <= maximum)) return false;
        if (!Object.values(account).every(Number.isFinite)) return false;
        if (!model.guests.every((belief) => !isControlled(belief) || charge(belief) <= maximum)) return false;
        if (model.guests.some(({ trend, speed }) => Number.isNaN(trend + speed))) return false;
        const { againMs } = nextSample(model, new Map(), world.config, { at: world.at, cpu: new Float64Array(0), savings: 50 });
        if (!(againMs >= 0)) return false;
        world.obey(moves, { arrive: false });
        for (const each of world.guests) each.actual = Math.round((each.actual + each.target) / 2);
      }
      return true;
    }),
    { numRuns: 1500 },
  );
  t.ok(moved > 1000, `${moved} moves were sampled`);
});

t.test('a liar gets no more than its maximum, and takes no honest guest under what it uses and the spare that nobody takes', async (t) => {
  let taken = 0;
  const rounds = fc.array(lies(1, REPORTED, fc.oneof(figure, plausible)), { minLength: 10, maxLength: 25 });
  fc.assert(
    fc.property(rounds, fc.integer({ min: 1, max: 4 }), (reported, pool) => {
      const honest = ['b', 'c', 'd'].map((name, i) => guest(name, { actual: (400 + 200 * i) * MiB, used: (150 + 100 * i) * MiB }));
      const world = new World([guest('liar'), ...honest], { pool: pool * GiB });
      for (const round of reported) {
        const { moves } = readThrough(world, round);
        for (const { name, from, to } of moves) {
          if (name === 'liar' ? to > 2 * GiB : to < from && to < world.find(name).used + CRITICAL_SPARE) return false;
          if (name !== 'liar' && to < from) taken++;
        }
        world.obey(moves);
      }
      return true;
    }),
    { numRuns: 400 },
  );
  t.ok(taken > 100, `${taken} shrinks of honest guests were sampled`);
});

t.test('a guest that claims to hold more than its maximum is charged its maximum, and keeps nobody else from growing', async (t) => {
  for (const claim of [3 * GiB, 2 ** 54, 2 ** 64]) {
    const world = new World([guest('liar'), guest('honest')], { pool: 8 * GiB });
    const lie = [{ row: 0, field: sweep.ACTUAL, value: claim }];
    for (let i = 0; i < 5; i++) world.obey(readThrough(world, lie).moves);
    world.find('honest').used = 500 * MiB;
    const { moves, account } = readThrough(world, lie);
    t.ok(account.charged <= 2 * GiB + world.find('honest').maximum, `charged ${account.charged} for ${claim}`);
    t.match(
      moves.filter(({ name }) => name === 'honest'),
      [{ reason: 'relief' }],
    );
  }
});

t.test(
  'a guest that claims to use all that it gets, for ever, leaves the others what they use and the spare that nobody takes',
  async (t) => {
    const world = new World([guest('liar'), guest('b', { used: 300 * MiB }), guest('c', { used: 200 * MiB })], { pool: 1536 * MiB });
    for (let i = 0; i < 120; i++) world.obey(readThrough(world, [{ row: 0, field: sweep.USABLE, value: 0 }]).moves);
    for (const name of ['b', 'c']) {
      const { actual, used } = world.find(name);
      t.ok(actual >= used + CRITICAL_SPARE, `${name} has ${(actual - used) / MiB} MiB to spare`);
    }
    t.ok(world.find('liar').actual <= 2 * GiB);
    t.ok(world.guests.reduce((sum, { actual }) => sum + actual, 0) <= 1536 * MiB, 'all of it within the pool');
  },
);

t.test('a floor holds against any liar', async (t) => {
  const world = new World([guest('liar'), guest('b', { used: 150 * MiB, overrides: { min: 400 * MiB } })], { pool: 1024 * MiB });
  for (let i = 0; i < 120; i++) world.obey(readThrough(world, [{ row: 0, field: sweep.USABLE, value: 0 }]).moves);
  t.ok(world.find('b').actual >= 400 * MiB);
});

t.test('a guest that says that it gave, and did not, is computed with by what its process holds', async (t) => {
  const world = new World([guest('liar', { actual: 2 * GiB }), guest('honest')]);
  world.total = 4 * GiB;
  world.available = 1 * GiB;
  const holds = { row: 0, field: sweep.RSS, value: 2 * GiB };
  for (let i = 0; i < 4; i++) readThrough(world, [holds]);
  const before = world.model;
  const { account: truth } = readThrough(world, [holds]);
  world.model = before;
  const { account: lied } = readThrough(world, [holds, { row: 0, field: sweep.ACTUAL, value: 256 * MiB }]);
  t.ok(lied.charged < truth.charged - GiB, 'it is charged what it says');
  t.ok(lied.room <= truth.room, 'but has made no room for anybody');
});
