import fc from 'fast-check';
import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import { charge } from '../../lib/policy/guest.js';
import { remember } from '../../lib/policy/readings.js';
import type { Remembered } from '../../lib/policy/types.js';
import { guest, NOTHING_WRONG, World } from './world.js';

/** A world with one guest, of which a coordinator before us knew this. */
function after(remembered: Partial<Remembered>, settings: Parameters<typeof guest>[1] = {}): World {
  const world = new World([guest('a', settings)]);
  world.remembered.set('a', { ...NOTHING_WRONG, ...remembered });
  return world;
}

const believed = (world: World) => {
  const [belief] = world.model.guests;
  if (belief === undefined) throw new Error('nobody is here');
  return belief;
};

t.test('a growth that a killed coordinator had ordered is charged before it comes', async (t) => {
  const world = after({ target: 1400 * MiB, orderedAt: 999_000 }, { actual: 600 * MiB, used: 550 * MiB });
  world.sample();
  t.equal(believed(world).target, 1400 * MiB);
  for (const actual of [900, 1200]) {
    world.find('a').actual = actual * MiB;
    world.sample();
  }
  t.equal(believed(world).phase, 'steady');
  t.equal(charge(believed(world)), 1400 * MiB);
  t.same(
    world.notices.filter(({ kind }) => kind === 'adopted'),
    [],
  );
});

t.test('a growth that never comes is taken back', async (t) => {
  const world = after({ target: 1400 * MiB, orderedAt: 999_000 }, { actual: 600 * MiB, used: 300 * MiB });
  const moves = world.run(8);
  t.equal(moves[0]?.reason, 'no-progress');
  t.equal(moves[0]?.to, 600 * MiB);
});

t.test('a shrink under way is not taken for somebody else’s move, and what the guest had before is known', async (t) => {
  const world = after({ original: 900 * MiB, target: 500 * MiB, orderedAt: 999_500 }, { actual: 800 * MiB });
  for (const actual of [800, 650, 500]) {
    world.find('a').actual = actual * MiB;
    world.sample();
  }
  world.sample();
  t.same(
    world.notices.map(({ kind }) => kind).filter((kind) => kind === 'adopted' || kind === 'stuck'),
    [],
  );
  t.match(believed(world), { target: 500 * MiB, original: 900 * MiB });
});

t.test('where a coordinator sent the balloon after its last note is no word of somebody else', async (t) => {
  const world = after({ original: 900 * MiB, target: 800 * MiB, orderedAt: 999_500 }, { actual: 790 * MiB });
  for (const actual of [700, 600, 600, 600]) {
    world.find('a').actual = actual * MiB;
    world.sample();
  }
  t.match(believed(world), { target: 600 * MiB, original: 900 * MiB });
  t.notOk(world.notices.some(({ kind }) => kind === 'adopted'));
});

t.test('a size that was set while nobody coordinated is the guest’s own, unless it had more before', async (t) => {
  const raised = after({ original: 500 * MiB, target: 400 * MiB, orderedAt: 500_000 }, { actual: 700 * MiB });
  raised.sample();
  t.match(believed(raised), { target: 700 * MiB, original: 700 * MiB });
  const between = after({ original: 900 * MiB, target: 400 * MiB, orderedAt: 500_000 }, { actual: 700 * MiB });
  between.sample();
  t.match(believed(between), { target: 700 * MiB, original: 900 * MiB });
});

t.test('a guest that was found to be stuck is left alone until its pause is over, and no longer', async (t) => {
  const world = after({ reachable: 700 * MiB, target: 701 * MiB, shrinkAfter: 1_010_000 }, { actual: 701 * MiB, used: 300 * MiB });
  t.same(world.run(8), []);
  t.equal(believed(world).phase, 'stuck');
  t.ok(world.run(10).some(({ reason }) => reason === 'give'));
});

t.test('what it had before is what it has when it is known; what somebody else sets takes its place, what we set does not', async (t) => {
  const world = new World([guest('a', { actual: 800 * MiB })]);
  world.sample();
  t.equal(remember(believed(world)), null, 'nothing is known while it boots');
  world.run(6);
  t.ok(believed(world).actual < 800 * MiB);
  t.equal(believed(world).original, 800 * MiB);
  world.find('a').actual = 1000 * MiB;
  world.sample();
  world.sample();
  t.equal(believed(world).original, 1000 * MiB);
});

t.test('coming back to what we asked for, as after a reboot, is nobody else’s move', async (t) => {
  const world = new World([guest('a', { actual: 800 * MiB })]);
  const last = world.run(6).at(-1);
  t.equal(believed(world).original, 800 * MiB);
  world.rebooted.add('a');
  world.find('a').actual = 2048 * MiB;
  world.sample();
  world.sample();
  world.at += 8000;
  world.sample();
  world.find('a').actual = last?.to ?? 0;
  world.sample();
  world.sample();
  t.equal(believed(world).original, 800 * MiB);
});

t.test('whatever the file says, it does no harm: bounds and capacity hold, and the guest is not starved', async () => {
  const amount = fc.oneof(fc.constantFrom(0, 1, 4, Number.MAX_SAFE_INTEGER), fc.nat(4096 * MiB), fc.nat(2_000_000));
  const lie = fc.record({
    original: amount,
    target: amount,
    orderedAt: amount,
    speed: amount,
    reachable: amount,
    shrinkAfter: amount,
    pause: amount,
    thrashed: fc.boolean(),
    cache: fc.record({ working: amount, floor: amount, probeAfter: amount, pause: amount, rereads: amount, rereadMs: amount }),
  });
  fc.assert(
    fc.property(lie, (remembered) => {
      const world = after(remembered, { actual: 700 * MiB, used: 400 * MiB });
      world.config = { ...world.config, pool: 1024 * MiB };
      for (let round = 0; round < 12; round++) {
        const made = world.sample();
        world.obey(made.moves);
        const { actual, target, floor, maximum } = believed(world);
        for (const { to } of made.moves) if (!(to >= floor && to <= Math.min(maximum, 1024 * MiB))) return false;
        if (actual < 448 * MiB || !(target >= 256 * MiB && target <= maximum)) return false;
      }
      return true;
    }),
  );
});

t.test('what is given for a guest in need does not go to one that would fill it with page cache', async (t) => {
  const world = new World(
    [guest('needs', { actual: 400 * MiB, used: 390 * MiB }), guest('reads', { actual: 624 * MiB, used: 150 * MiB, touched: 600 * MiB })],
    { pool: 1024 * MiB },
  );
  const cache = { ...NOTHING_WRONG.cache, floor: 900 * MiB, probeAfter: world.at + 600_000 };
  world.remembered.set('reads', { ...NOTHING_WRONG, original: 1024 * MiB, target: 624 * MiB, cache });
  const moves = world.run(20);
  const needs = moves.findLastIndex(({ name, reason }) => name === 'needs' && reason !== 'surplus');
  t.same(
    moves.slice(0, needs).filter(({ name, to, from }) => name === 'reads' && to > from),
    [],
  );
  t.same(
    moves.slice(needs).filter(({ reason }) => reason === 'give'),
    [],
    'nor is it taken from it again for nobody',
  );
  t.ok(world.find('needs').actual >= 490 * MiB, `${world.find('needs').actual / MiB} MiB`);
});
