import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { type Order, ordered } from '../../lib/policy/decide.js';
import { charge } from '../../lib/policy/guest.js';
import { plan } from '../../lib/policy/plan.js';
import { guest, World } from './world.js';

/** On a host that no longer changes planning comes to rest within this many rounds of one interval: 4 GiB at 50 MiB a round, and some. */
const ROUNDS = 120;

const mib = (min: number, max: number) => fc.integer({ min, max }).map((n) => n * MiB);

const host = fc.record({
  guests: fc.array(
    fc.record({
      maximum: mib(64, 4096),
      size: fc.double({ min: 0.1, max: 1, noNaN: true }),
      use: fc.double({ min: 0, max: 1.1, noNaN: true }),
      driver: fc.integer({ min: 0, max: 19 }).map((n) => n > 0),
      share: fc.integer({ min: 1, max: 5000 }),
    }),
    { minLength: 1, maxLength: 500, size: 'max' },
  ),
  part: fc.double({ min: 0.2, max: 1.2, noNaN: true }),
  surplus: fc.constantFrom('host' as const, 'guests' as const),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

function build({ guests, part, surplus }: typeof host extends fc.Arbitrary<infer T> ? T : never): World {
  const world = new World(
    guests.map(({ maximum, size, use, driver, share }, i) => {
      const actual = Math.round(maximum * size);
      return guest(`g${i}`, { maximum, actual, target: actual, used: Math.round(actual * use), driver, overrides: { share } });
    }),
    { surplus },
  );
  world.total = 4096 * GiB;
  const pool = Math.round(guests.reduce((sum, { maximum }) => sum + maximum, 0) * part);
  world.config = { ...world.config, pool };
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

t.test('charges stay within the capacity, and targets within floor and maximum, while guests live and balloons lag', async (t) => {
  let moved = 0;
  fc.assert(
    fc.property(host, (spec) => {
      const world = build(spec);
      const next = random(spec.seed);
      for (let round = 0; round < 12; round++) {
        const { moves, account } = world.sample(1000);
        moved += moves.length;
        const room = Math.max(account.capacity, account.charged);
        // The worst case: every grant lands before every release. What QEMU was told counts, not only what the model believes.
        const worst = world.model.guests.reduce((sum, belief) => {
          const move = moves.find(({ uuid }) => uuid === belief.uuid);
          return sum + Math.max(charge(belief), world.find(belief.name).target, move?.to ?? 0);
        }, 0);
        if (worst > room + 1) return false;
        for (const { to, from, uuid } of moves) {
          const belief = world.model.guests.find((each) => each.uuid === uuid);
          if (belief === undefined || to > belief.ceiling || (to < from && to < belief.floor)) return false;
        }
        world.obey(moves, { arrive: false });
        for (const each of world.guests) {
          if (next() < 0.8) each.actual = Math.round(each.actual + (each.target - each.actual) * next());
          if (next() < 0.2) each.used = Math.round(each.actual * next());
          each.answers = next() < 0.95;
        }
      }
      return true;
    }),
    { numRuns: 25 },
  );
  t.ok(moved > 1000, `${moved} moves were sampled`);
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
