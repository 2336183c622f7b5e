import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import {
  type ActivityCheck,
  activityCheckInterval,
  type NextSample,
  nextSample,
  reactionTime,
  sampleInterval,
} from '../../lib/policy/demand.js';
import { isIdle } from '../../lib/policy/guest.js';
import type { GuestContext } from '../../lib/policy/types.js';
import { CONFIG, guest, World, type WorldGuest } from './world.js';

const contexts = (world: World): Map<string, GuestContext> =>
  new Map(world.guests.map(({ name }) => [name, { facts: null, overrides: {}, included: true, statsPeriod: 1 }]));

const many = (count: number, used: number) =>
  Array.from({ length: count }, (_, i) => guest(`g${i}`, { used: used + i * 10, actual: 512 * MiB }));

/** Asks whom to sample `ms` after the last sample. By default ten samples are paid for. */
function next(world: World, ms: number, { savings = 50, ...check }: Partial<ActivityCheck> = {}): NextSample {
  const cpu = Float64Array.from(world.guests, (each) => each.cpu);
  return nextSample(world.model, contexts(world), CONFIG, { at: world.at + ms, cpu, savings, ...check });
}

/** A guest at rest with 110 MiB to spare, whose host reports what its virtual CPU does. */
const still = (name: string, settings: Partial<WorldGuest> = {}) => guest(name, { used: 402 * MiB, cpu: 1000, ...settings });

/** Lets a second pass again and again, in which the virtual CPUs run for so long. */
function pass(world: World, seconds: number, ran: number): void {
  for (let second = 0; second < seconds; second++) {
    for (const each of world.guests) each.cpu += ran;
    world.run(1);
  }
}

t.test('four guests at work get some 2.5 samples a second out of 5 % of a core', async (t) => {
  t.equal(sampleInterval(4, CONFIG), 400);
  t.equal(sampleInterval(1, CONFIG), 100);
  t.equal(sampleInterval(100, CONFIG), 1000);
  t.equal(sampleInterval(1, { ...CONFIG, samplingBudget: 0 }), 1000, 'no budget: the interval');
});

t.test('activity checks are as many as half of the budget allows, and none where they would not come between the sweeps', async (t) => {
  t.equal(activityCheckInterval(4, CONFIG), 100);
  t.equal(activityCheckInterval(5000, CONFIG), 400);
  t.equal(activityCheckInterval(50_000, CONFIG), 1000);
  t.equal(activityCheckInterval(4, { ...CONFIG, samplingBudget: 0 }), 1000);
});

t.test('the reaction time counts the age of the figures, the wait for the next sample and the balloon', async (t) => {
  t.equal(reactionTime(400, 1000, CONFIG), 50 + 400 + 150);
  t.equal(reactionTime(1000, 1000, CONFIG), 1000 + 1000 + 150);
});

t.test(
  'where the host reports nothing of their work, guests are sampled when the assumed burst may have used their spare up',
  async (t) => {
    const world = new World([
      guest('safe', { actual: 1500 * MiB }),
      guest('some', { used: 300 * MiB }),
      guest('none', { used: 500 * MiB }),
    ]);
    world.refreshed = new Set(['some']);
    world.run(4, { arrive: false });
    t.same(next(world, 100).guests, ['none'], 'the other could have lost 30 of its 212 MiB');
    t.same(next(world, 900).guests, ['none', 'some'], 'most endangered first; the safe one is left to the sweep');
  },
);

t.test('a guest that does not run takes no memory: it is not sampled, however long', async (t) => {
  const world = new World([still('a')]);
  pass(world, 8, 2);
  t.ok(isIdle(world.model.guests[0] as never, world.at));
  t.same(next(world, 900), { guests: [], settling: [], againMs: 100 });
});

t.test('one that becomes active is sampled at the next check', async (t) => {
  const world = new World([still('a')]);
  pass(world, 8, 2);
  world.find('a').cpu += 20;
  t.same(next(world, 100).guests, ['a']);
});

t.test('one that has become active is sampled again while it runs, until it shows what it does', async (t) => {
  const world = new World([still('a')]);
  pass(world, 8, 2);
  world.refreshed = new Set(['a']);
  const sample = () => {
    world.find('a').cpu += 20;
    world.find('a').majorFault++;
    world.run(1, { ms: 100 });
  };
  sample();
  t.same(next(world, 100).guests, [], 'it does not run any more');
  world.find('a').cpu += 20;
  t.same(next(world, 100).guests, ['a'], 'long before the burst could have used its spare up');
  for (let round = 0; round < 12; round++) sample();
  world.find('a').cpu += 20;
  t.same(next(world, 100).guests, []);
});

t.test('one at work is sampled when both the burst and its CPU may have used its spare up', async (t) => {
  const world = new World([still('a')]);
  world.refreshed = new Set(['a']);
  pass(world, 8, 500);
  t.notOk(isIdle(world.model.guests[0] as never, world.at));
  t.same(next(world, 100).guests, [], 'it has more spare while it is at work, and cannot have lost it yet');
  world.find('a').cpu += 200;
  t.same(next(world, 600).guests, ['a']);
});

t.test('a guest whose balloon is moved is not taken to be at work for it', async (t) => {
  const world = new World([still('a', { actual: 1500 * MiB })]);
  pass(world, 10, 100);
  t.ok(world.find('a').actual < 1200 * MiB, 'it gives');
  t.ok(isIdle(world.model.guests[0] as never, world.at));
});

t.test('one whose use rises is at work, whatever its CPU reports', async (t) => {
  const world = new World([still('a')]);
  pass(world, 8, 2);
  world.find('a').used += 10 * MiB;
  pass(world, 1, 2);
  t.notOk(isIdle(world.model.guests[0] as never, world.at));
});

t.test('where the host reports who is at work, spare is kept for two that rise at once; where not, for all', async (t) => {
  const wants = (world: World) => {
    world.run(4, { arrive: false });
    return world.model.guests.map(({ want }) => want);
  };
  const cushion = (reaction: number) => 402 * MiB + (48 + 200 * reaction) * MiB;
  t.same(wants(new World(['a', 'b', 'c', 'd'].map((name) => still(name)))), Array(4).fill(cushion(0.05 + 0.2 + 0.15)));
  t.same(wants(new World(['a', 'b', 'c', 'd'].map((name) => still(name, { cpu: Number.NaN })))), Array(4).fill(cushion(0.05 + 0.4 + 0.15)));
});

t.test('with nobody at risk the next sample is the next sweep', async (t) => {
  const world = new World([guest('safe', { actual: 2000 * MiB })]);
  world.run(4, { arrive: false });
  t.same(next(world, 900), { guests: [], settling: [], againMs: 1000 });
});

t.test('where the budget does not allow for all, the most endangered get it; nothing saved, nobody does, until there is', async (t) => {
  const world = new World(many(40, 400 * MiB));
  world.run(4, { arrive: false });
  t.same(next(world, 900, { savings: 25 }).guests, ['g39', 'g38', 'g37', 'g36', 'g35']);
  t.same(next(world, 900, { savings: 0 }), { guests: [], settling: [], againMs: 100 });
  t.same(next(world, 900, { savings: -20 }), { guests: [], settling: [], againMs: 500 });
});

t.test('a guest whose figures are off is not sampled: there is nothing to see', async (t) => {
  const world = new World([guest('a', { used: 500 * MiB })]);
  world.run(4, { arrive: false });
  const check = { at: world.at + 900, cpu: new Float64Array(0), savings: 50 };
  t.same(nextSample(world.model, new Map(), CONFIG, check).guests, []);
});

t.test('a guest that was moved is asked at the next sweep how it fares, since nothing is taken before it has answered', async (t) => {
  const world = new World([guest('gives', { actual: 2000 * MiB })]);
  world.run(3);
  t.same(next(world, 900).settling, ['gives']);
});

t.test('what somebody waits for is watched for as soon as it can have come, with those at risk', async (t) => {
  const world = new World([guest('donor', { actual: 1500 * MiB }), guest('taker', { used: 480 * MiB })], { pool: 2012 * MiB });
  world.run(3, { arrive: false });
  t.ok(next(world, 100).againMs <= 50);
  t.same(next(world, 150).guests, ['taker', 'donor'], 'those at risk come first');
});

t.test('while somebody waits, one that has more to give is sampled until its last move is seen to be done, ever later', async (t) => {
  const world = new World([guest('donor', { actual: 1500 * MiB }), guest('taker', { used: 480 * MiB })], { pool: 2012 * MiB });
  world.run(3, { arrive: false });
  const ordered = world.at;
  const due = () => [50, 100, 150, 200, 300, 400, 600, 800].find((ms) => next(world, ms).guests.includes('donor'));
  t.equal(due(), 150);
  world.sample(150);
  t.equal(due(), 150, '300 ms after the order');
  world.sample(150);
  t.equal(due(), 300);
  world.find('donor').actual = world.find('donor').target;
  world.sample(world.at - ordered);
  t.equal(due(), undefined);
});

t.test('the watermarks are no spare to wait for: with the signal unused a guest is sampled as early as with usable', async (t) => {
  const sampled = (signal: 'usable' | 'unused') => {
    const world = new World([guest('a', { used: 330 * MiB, overrides: { signal } })], { burstKiBs: 50 * MiB });
    world.run(4, { arrive: false });
    return [100, 300, 500, 700, 900].find((ms) => next(world, ms).guests.length > 0);
  };
  t.type(sampled('usable'), 'number');
  t.equal(sampled('unused'), sampled('usable'));
});

t.test('what somebody waits for is watched for though others were sampled meanwhile', async (t) => {
  const world = new World([guest('donor', { actual: 1500 * MiB }), guest('taker', { used: 480 * MiB })], { pool: 2012 * MiB });
  world.run(3, { arrive: false });
  world.unread.add('donor');
  world.obey(world.sample(100).moves, { arrive: false });
  t.same(next(world, 50).guests, ['taker', 'donor']);
});

t.test('where the hypervisor refuses to refresh figures, that is reported once, and the guest keeps spare for it', async (t) => {
  const world = new World([still('a', { refreshed: 3 }), still('b', { refreshed: 3 })]);
  pass(world, 8, 2);
  t.same(
    world.notices.filter(({ kind }) => kind === 'no-refresh').map(({ level }) => level),
    ['info'],
  );
  t.same(next(world, 900).guests, []);
  t.equal(world.model.guests[0]?.want, 402 * MiB + (48 + 200 * 2.15) * MiB);
});

t.test('a refresh that failed for another reason is tried again', async (t) => {
  const world = new World([still('a', { refreshed: 68 })]);
  pass(world, 8, 2);
  world.find('a').cpu += 50;
  t.same(next(world, 100).guests, ['a']);
  t.same(
    world.notices.filter(({ kind }) => kind === 'no-refresh'),
    [],
  );
});

t.test('a guest that says it has nothing left, and has not touched most of what it holds, is not sampled for that', async (t) => {
  const liar = (touched: number) => guest('a', { actual: 2 * 1024 * MiB, used: 2 * 1024 * MiB, maximum: 4 * 1024 * MiB, touched });
  const asked = (touched: number) => {
    const world = new World([liar(touched)]);
    world.run(1);
    const shown = world.find('a');
    // Resident memory is what it has touched, whatever it says that it uses.
    world.rss = () => touched + shown.overhead;
    world.run(6, { arrive: false });
    return next(world, 400).guests;
  };
  t.same(asked(700 * MiB), []);
  t.same(asked(2 * 1024 * MiB), ['a']);
});

t.test('while somebody waits, one that rises is sampled once its figures are a second old, however long its spare lasts', async (t) => {
  const world = new World([guest('rises', { actual: 3000 * MiB, used: 500 * MiB, maximum: 4096 * MiB }), guest('b')]);
  world.run(4);
  world.find('rises').used += 60 * MiB;
  world.sample();
  const asked = (waiting: boolean, ms: number) => {
    world.model = { ...world.model, waiting };
    return next(world, ms).guests.includes('rises');
  };
  t.same([asked(false, 1100), asked(true, 900), asked(true, 1100)], [false, false, true]);
});

t.test('where the host is short those that give are sampled before those at risk: nobody is helped before they have given', async (t) => {
  const world = new World([guest('risk', { used: 380 * MiB }), guest('gives', { actual: 1024 * MiB, used: 150 * MiB })]);
  world.run(3);
  world.find('risk').used = world.find('risk').actual - 5 * MiB;
  const gives = world.sample().moves.filter(({ name }) => name === 'gives');
  t.equal(gives.length, 1);
  world.obey(gives, { arrive: false });
  const asked = (reserveInDanger: boolean) => {
    world.model = { ...world.model, waiting: true, reserveInDanger };
    return next(world, 900, { savings: 5 }).guests;
  };
  t.same([asked(false), asked(true)], [['risk'], ['gives']]);
});

t.test('and the next sample comes when they are', async (t) => {
  const world = new World([guest('rises', { actual: 3000 * MiB, used: 500 * MiB, maximum: 4096 * MiB })], { intervalMs: 5000 });
  world.run(4, { ms: 5000, arrive: false });
  world.find('rises').used += 200 * MiB;
  world.sample(2000);
  world.model = { ...world.model, waiting: true };
  t.equal(nextSample(world.model, contexts(world), world.config, { at: world.at, cpu: new Float64Array(1), savings: 50 }).againMs, 1000);
});

t.test('one whose figures are older than those that its need was computed for comes first, however much it has left', async (t) => {
  const world = new World(
    Array.from({ length: 20 }, (_, i) => guest(`g${i}`, { used: 400 * MiB, actual: (i === 7 ? 840 : 600) * MiB, cpu: 0 })),
    { intervalMs: 2000 },
  );
  const work = () => {
    for (const each of world.guests) Object.assign(each, { cpu: each.cpu + 500, used: each.used + 20 * MiB });
  };
  world.refreshed = new Set(world.guests.map(({ name }) => name));
  for (let second = 0; second < 5; second++) {
    work();
    world.sample();
  }
  const { takenAfter = Number.NaN, reaction = Number.NaN } = world.model.guests[7] ?? {};
  t.ok(reaction > 1900, 'they share the budget');
  world.unread = new Set(['g7']);
  work();
  world.sample();
  work();
  const first = (at: number) => {
    const cpu = Float64Array.from(world.guests, (each) => each.cpu);
    return nextSample(world.model, contexts(world), world.config, { at, cpu, savings: 5 }).guests;
  };
  t.strictNotSame(first(takenAfter + reaction - 200), ['g7']);
  t.same(first(takenAfter + reaction - 100), ['g7'], 'with the time that its balloon takes');
});
