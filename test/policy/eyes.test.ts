import t from 'tap';
import { lookInterval, reactionTime } from '../../lib/policy/demand.js';
import { nextLook } from '../../lib/policy/eyes.js';
import type { GuestContext } from '../../lib/policy/types.js';
import { MiB } from '../../lib/units.js';
import { CONFIG, guest, World } from './world.js';

const contexts = (world: World): Map<string, GuestContext> =>
  new Map(world.guests.map(({ name }) => [name, { facts: null, overrides: {}, included: true, statsPeriod: 1 }]));

const many = (count: number, used: number) =>
  Array.from({ length: count }, (_, i) => guest(`g${i}`, { used: used + i * 10, actual: 512 * MiB }));

t.test('four guests get some 2.5 looks a second out of 5 % of a core', async (t) => {
  t.equal(lookInterval(4, CONFIG), 400);
  t.equal(lookInterval(1, CONFIG), 100);
  t.equal(lookInterval(100, CONFIG), 1000);
  t.equal(lookInterval(1, { ...CONFIG, eyes: 0 }), 1000, 'no budget: the interval');
});

t.test('the reaction time counts the age of the figures, the wait for the next look and the balloon', async (t) => {
  t.equal(reactionTime(400, 1000, CONFIG), 50 + 400 + 150);
  t.equal(reactionTime(1000, 1000, CONFIG), 1000 + 1000 + 150);
});

t.test(
  'only guests whose spare does not cover the burst until the next sweep are looked at in between, most endangered first',
  async (t) => {
    const world = new World([
      guest('safe', { actual: 1500 * MiB }),
      guest('some', { used: 300 * MiB }),
      guest('none', { used: 500 * MiB }),
    ]);
    world.run(4, { arrive: false });
    t.same(nextLook(world.model, contexts(world), CONFIG), { inMs: 200, guests: ['none', 'some'], settling: [] });
  },
);

t.test('with nobody at risk the next look is the next sweep', async (t) => {
  const world = new World([guest('safe', { actual: 2000 * MiB })]);
  world.run(4, { arrive: false });
  t.same(nextLook(world.model, contexts(world), CONFIG), { inMs: 1000, guests: [], settling: [] });
});

t.test('where the budget does not allow for all, the most endangered get it', async (t) => {
  const world = new World(many(40, 400 * MiB));
  world.run(4, { arrive: false });
  const { inMs, guests } = nextLook(world.model, contexts(world), CONFIG);
  t.equal(inMs, 500);
  t.same(guests, ['g39', 'g38', 'g37', 'g36', 'g35']);
});

t.test('a guest whose figures are off is not looked at: there is nothing to see', async (t) => {
  const world = new World([guest('a', { used: 500 * MiB })]);
  world.run(4, { arrive: false });
  t.same(nextLook(world.model, new Map(), CONFIG), { inMs: 1000, guests: [], settling: [] });
});

t.test('a guest that was moved is asked at the next sweep how it fares, since nothing is taken before it has answered', async (t) => {
  const world = new World([guest('gives', { actual: 2000 * MiB })]);
  world.run(3);
  t.same(nextLook(world.model, contexts(world), CONFIG), { inMs: 1000, guests: [], settling: ['gives'] });
});

t.test('what somebody waits for is looked for as soon as it can have come, with those at risk', async (t) => {
  const world = new World([guest('donor', { actual: 1500 * MiB }), guest('taker', { used: 480 * MiB })], { poolKiB: 2012 * MiB });
  world.run(3, { arrive: false });
  t.same(nextLook(world.model, contexts(world), CONFIG), { inMs: 150, guests: ['donor', 'taker'], settling: [] });
});
