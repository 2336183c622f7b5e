import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { type Order, ordered } from '../../lib/policy/decide.js';
import { charge, isControlled, isMovable } from '../../lib/policy/guest.js';
import { RESERVE_MARGIN, SAME } from '../../lib/policy/limits.js';
import { plan } from '../../lib/policy/plan.js';
import { guest, World } from './world.js';

// To make a host of hundreds of guests smaller takes minutes.
fc.configureGlobal({ endOnFailure: true });

/** On a host that no longer changes planning comes to rest within this many rounds of one interval: 4 GiB at 50 MiB a round, and some. */
const ROUNDS = 120;

const mib = (min: number, max: number) => fc.integer({ min, max }).map((n) => n * MiB);

/** One guest in seven is not controlled. */
const KINDS = {
  plain: {},
  driverless: { driver: false },
  excluded: { included: false },
  pinned: { obstacles: ['vfio device hostdev0'] },
} as const;

const host = fc.record({
  guests: fc.array(
    fc.record({
      maximum: mib(64, 4096),
      size: fc.double({ min: 0.1, max: 1, noNaN: true }),
      use: fc.double({ min: 0, max: 1.1, noNaN: true }),
      touched: fc.double({ min: 0, max: 1, noNaN: true }),
      kind: fc.constantFrom<keyof typeof KINDS>(...Array<'plain'>(18).fill('plain'), 'driverless', 'excluded', 'pinned'),
      share: fc.integer({ min: 1, max: 5000 }),
    }),
    { minLength: 1, maxLength: 500, size: 'max' },
  ),
  /** What there is for the guests, as a part of their maxima, and whether the pool or the host says so. */
  part: fc.double({ min: 0.2, max: 1.2, noNaN: true }),
  bound: fc.constantFrom('pool' as const, 'host' as const),
  surplus: fc.constantFrom('host' as const, 'guests' as const),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

function build({ guests, part, bound, surplus }: typeof host extends fc.Arbitrary<infer T> ? T : never): World {
  const world = new World(
    guests.map(({ maximum, size, use, touched, kind, share }, i) => {
      const actual = Math.round(maximum * size);
      const holds = { maximum, actual, target: actual, used: Math.round(actual * use), touched: Math.round(actual * touched) };
      return guest(`g${i}`, {
        ...holds,
        ...KINDS[kind],
        obstacles: kind === 'pinned' ? [...KINDS.pinned.obstacles] : [],
        overrides: { share },
      });
    }),
    { surplus },
  );
  const there = Math.round(guests.reduce((sum, { maximum }) => sum + maximum, 0) * part);
  world.total = bound === 'pool' ? 4096 * GiB : there + GiB;
  world.config = { ...world.config, pool: bound === 'pool' ? there : null };
  return world;
}

/** Numbers in [0, 1) that depend on nothing but the seed (xorshift32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

t.test('growth spends no more than there is for it, and targets stay within floor and ceiling, while balloons lag', async (t) => {
  let needed = 0;
  let optional = 0;
  fc.assert(
    fc.property(host, (spec) => {
      const world = build(spec);
      const next = random(spec.seed);
      for (let round = 0; round < 12; round++) {
        const { moves, account } = world.sample(1000);
        // The worst case: every grant lands before every release.
        let spent = 0;
        let surplus = false;
        let returned = false;
        let need = false;
        for (const { to, from, uuid, reason } of moves) {
          const belief = world.model.guests.find((each) => each.uuid === uuid);
          if (belief === undefined || !isControlled(belief)) throw new Error(`${uuid} is not controlled, ${reason}`);
          if (to > from && to > belief.ceiling)
            throw new Error(`${uuid}: ${from} to ${to}, ${reason}, over its ceiling of ${belief.ceiling}`);
          if (to < from && to < belief.floor) throw new Error(`${uuid}: ${from} to ${to}, ${reason}, under its floor of ${belief.floor}`);
          spent += Math.max(0, to - charge(belief));
          surplus ||= reason === 'surplus' && to > Math.max(charge(belief), belief.original);
          returned ||= reason === 'surplus' && to > charge(belief);
          need ||= (reason === 'need' || reason === 'bounds') && to > charge(belief);
        }
        if (spent > Math.max(0, account.reliefRoom) + 1) throw new Error(`${spent} of ${account.reliefRoom} were spent on relief`);
        if (need && spent > account.room + 1) throw new Error(`${spent} of ${account.room} were spent on need`);
        const { room, available, reserve } = account;
        if (returned && spent > Math.min(room, available - reserve * (1 + RESERVE_MARGIN)) + 1)
          throw new Error(`${spent} of ${room} were spent on what guests had before`);
        if (surplus && spent > account.optionalRoom + 1) throw new Error(`${spent} of ${account.optionalRoom} were spent on surplus`);
        if (surplus) optional++;
        else if (spent > 0) needed++;
        world.obey(moves, { arrive: false });
        for (const each of world.guests) {
          if (next() < 0.8) each.actual = Math.round(each.actual + (each.target - each.actual) * next());
          if (next() < 0.2) each.used = Math.round(each.actual * next());
          each.answers = next() < 0.95;
        }
      }
      return true;
    }),
    { numRuns: 50 },
  );
  t.ok(needed > 30 && optional > 5, `${needed} samples with growth in need alone, ${optional} with optional growth`);
});

t.test('nobody is taken below its need but for one who waits in need and cannot be paid, or for the host', async (t) => {
  let taken = 0;
  fc.assert(
    fc.property(host, (spec) => {
      const world = build(spec);
      const next = random(spec.seed);
      for (let round = 0; round < 12; round++) {
        const { moves, account } = world.sample(1000);
        const beliefs = new Map(world.model.guests.map((belief) => [belief.uuid, belief]));
        const lacks = world.model.guests.reduce(
          (sum, belief) => sum + (isMovable(belief) ? Math.max(0, belief.need - charge(belief)) : 0),
          0,
        );
        for (const { to, from, uuid, taker } of moves) {
          const belief = beliefs.get(uuid);
          if (belief === undefined || to >= from) continue;
          taken++;
          const why = `${uuid} of ${belief.need}: ${from} to ${to}; ${lacks} is lacked, the room is ${account.room}`;
          if (to < belief.need - SAME && account.shortage === 0 && lacks <= account.room) throw new Error(why);
          if (taker !== null && !world.model.guests.some(({ name, target, need }) => name === taker && target < need))
            throw new Error(`${taker} does not wait for memory`);
        }
        world.obey(moves);
        for (const each of world.guests) if (next() < 0.2) each.used = Math.round(each.actual * next());
      }
      return true;
    }),
    { numRuns: 50 },
  );
  t.ok(taken > 1000, `${taken} shrinks were sampled`);
});

t.test(`on a host that no longer changes planning comes to rest within ${ROUNDS} rounds`, async (t) => {
  let busy = 0;
  fc.assert(
    fc.property(host, (spec) => {
      const world = build(spec);
      if (world.run(ROUNDS).length > 0) busy++;
      return world.run(5).length === 0;
    }),
    { numRuns: 6 },
  );
  t.ok(busy > 0, 'there was something to do');
});

t.test('the same host in another order gives the same moves', async (t) => {
  fc.assert(
    fc.property(host, (spec) => {
      const there = build(spec);
      const back = build(spec);
      back.guests.reverse();
      for (let round = 0; round < 6; round++) {
        const a = new Map(there.sample().moves.map((move) => [move.uuid, move]));
        const b = back.sample().moves;
        if (a.size !== b.length || !b.every((move) => Math.abs((a.get(move.uuid)?.to ?? -1e9) - move.to) <= MiB)) return false;
        there.obey([...a.values()]);
        back.obey(b);
      }
      return true;
    }),
    { numRuns: 15 },
  );
  t.pass('for random hosts and their mirror images');
});

t.test('a plan leaves the model and the sample that it is made from as they were, and the same ones give the same plan', async (t) => {
  let moved = 0;
  fc.assert(
    fc.property(host, (spec) => {
      const world = build({ ...spec, guests: spec.guests.slice(0, 40) });
      const next = random(spec.seed);
      for (let round = 0; round < 8; round++) {
        const given = { model: world.model, sample: world.see(), config: world.config };
        const copy = structuredClone(given);
        const made = plan(given.model, given.sample, given.config);
        if (!isDeepStrictEqual(structuredClone(given), copy)) return false;
        if (!isDeepStrictEqual(plan(given.model, given.sample, given.config), made)) return false;
        const model = structuredClone(made.model);
        const outcomes = ['stored', 'failed', 'unknown'] as const;
        const orders = made.moves.map((move): Order => ({ move, outcome: outcomes[Math.floor(next() * 3)] ?? 'stored' }));
        world.model = ordered(made.model, orders, world.at);
        if (!isDeepStrictEqual(structuredClone(made.model), model)) return false;
        moved += orders.length;
        for (const each of world.guests) each.used = Math.round(each.used * (0.9 + 0.2 * next()));
      }
      return true;
    }),
    { numRuns: 15 },
  );
  t.ok(moved > 100, `${moved} moves`);
});
