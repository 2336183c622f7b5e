/** Guests of every kind: what they report, what bounds them, and how they boot. */
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import type { Belief } from '../../lib/policy/guest.js';
import type { Move } from '../../lib/policy/types.js';
import { guest, OVERHEAD, World } from './world.js';

function believed({ model }: World, name = 'a'): Belief {
  const belief = model.guests.find((each) => each.name === name);
  if (belief === undefined) throw new Error(`nobody is named ${name}`);
  return belief;
}

const isShrink = ({ from, to }: Move) => to < from;

t.test('MemTotal that does not follow the balloon is learned from what is seen, and the guest gives as any other', async (t) => {
  const world = new World([guest('a', { figures: 'fixed', actual: 1500 * MiB, used: 300 * MiB })]);
  const plain = new World([guest('a', { actual: 1500 * MiB, used: 300 * MiB })]);
  world.run(3);
  plain.run(3);
  for (let round = 0; round < 200; round++) {
    const [move] = world.run(1);
    plain.run(1);
    const over = believed(world).used - 300 * MiB;
    // While its balloon moves nobody knows of which size its figures are: too much use is assumed, never too little.
    t.ok(over >= -MiB && over <= 75 * MiB, `round ${round}: ${over / MiB} MiB`);
    if (move !== undefined && isShrink(move)) t.ok(Math.abs(over) <= MiB, 'it is shrunk only on what is known');
  }
  t.equal(believed(world).follows, false);
  t.equal(believed(plain).follows, true);
  t.ok(Math.abs(world.find('a').actual - plain.find('a').actual) <= 25 * MiB);
  t.same(world.run(60), [], 'and comes to rest');
});

t.test('with autodeflate MemTotal is taken not to follow, until it is seen to', async (t) => {
  const world = new World([guest('a', { figures: 'fixed', autodeflate: true })]);
  for (let round = 0; round < 4; round++) world.sample();
  t.equal(believed(world).follows, false);
  t.equal(believed(world).used, 150 * MiB);
  const other = new World([guest('a', { autodeflate: true, actual: 1500 * MiB })]);
  other.run(10);
  t.equal(believed(other).follows, true);
});

t.test('a guest without MemAvailable is judged by MemFree and its watermarks: it needs as much as one that reports both', async (t) => {
  const need = (figures: 'linux' | 'nousable') => {
    const world = new World([guest('a', { figures, used: 700 * MiB, actual: 1024 * MiB })]);
    world.run(4, { arrive: false });
    t.equal(believed(world).signal, figures === 'linux' ? 'usable' : 'unused');
    const { need, want } = believed(world);
    return [need / MiB, want / MiB];
  };
  const usable = need('linux');
  const unused = need('nousable');
  t.ok(
    Math.abs((usable[0] ?? 0) - (unused[0] ?? 0)) <= 7,
    `${usable[0]} and ${unused[0]}: a tenth of the use differs by a tenth of 69 MiB`,
  );
  t.equal(usable[1], unused[1]);
});

/** A guest whose 32-bit counters have just wrapped around. */
function wrapped(): World {
  const world = new World([guest('a', { majorFault: 2 ** 32 - 10, swapIn: 2 ** 32 - 100 })]);
  world.run(6);
  Object.assign(world.find('a'), { majorFault: 5, swapIn: 20 });
  world.run(1);
  return world;
}

t.test('a counter that wraps around is no reboot', async (t) => {
  t.equal(believed(wrapped()).phase, 'steady');
});

t.test('a counter that wraps around says nothing of what is usual: what comes after it is no thrashing', async (t) => {
  const world = wrapped();
  world.run(10);
  t.same(
    world.notices.filter(({ kind }) => kind === 'thrashing'),
    [],
  );
});

t.test('counters that are rates are no reboots and no thrashing', async (t) => {
  const world = new World([guest('a', { actual: 1500 * MiB })]);
  const moves: Move[] = [];
  for (let round = 0; round < 40; round++) {
    Object.assign(world.find('a'), { majorFault: [0, 900, 30, 4000, 7][round % 5], swapIn: [0, 90_000, 10][round % 3] });
    moves.push(...world.run(1));
    if (round > 3) t.equal(believed(world).phase, 'steady', `round ${round}`);
  }
  const thrashing = moves.filter(({ reason }) => reason === 'thrashing').length;
  t.ok(thrashing <= 1, `${thrashing} times`);
});

t.test('a growth that never comes is given up with growing pauses, and is not charged meanwhile', async (t) => {
  const world = new World([guest('a', { used: 490 * MiB })]);
  const asked: number[] = [];
  let charged = 0;
  for (let round = 0; round < 200; round++) {
    const { moves, account } = world.sample();
    if (account.charged > 512 * MiB) charged++;
    if (moves.some(({ from, to }) => to > from)) asked.push(world.at);
    world.obey(moves, { arrive: false });
  }
  const pauses = asked.slice(1).map((at, i) => at - (asked[i] ?? 0));
  t.ok(asked.length >= 4 && asked.length <= 10, `${asked.length} tries`);
  t.ok(
    pauses.every((pause, i) => i === 0 || pause > (pauses[i - 1] ?? 0)),
    `${pauses}`,
  );
  t.ok(charged <= 4 * asked.length, `charged in ${charged} samples`);
});

t.test('once a growth comes again no pause is left', async (t) => {
  const world = new World([guest('a', { used: 490 * MiB })]);
  for (let round = 0; round < 20; round++) world.run(1, { arrive: false });
  world.run(40);
  t.ok(world.find('a').actual >= 590 * MiB);
  world.find('a').used += 150 * MiB;
  world.run(3);
  t.ok(world.find('a').actual >= 740 * MiB);
});

t.test('a hard limit, less the overhead, is a ceiling', async (t) => {
  const world = new World([guest('a', { hardLimit: 800 * MiB, used: 700 * MiB, actual: 720 * MiB })], { surplus: 'guests' });
  const moves = world.run(10);
  t.equal(believed(world).ceiling, 800 * MiB - OVERHEAD);
  t.ok(moves.length > 0);
  for (const { to } of moves) t.ok(to <= 800 * MiB - OVERHEAD, `${to / MiB} MiB`);
});

/** A guest that is started while memcoord runs, with much spare. */
function booted(
  settings: Parameters<typeof guest>[1] = {},
  others = [guest('b')],
  config: ConstructorParameters<typeof World>[1] = {},
): World {
  const world = new World(others, config);
  world.run(5);
  world.guests.push(guest('a', { actual: 1500 * MiB, ...settings }));
  world.started.add('a');
  return world;
}

const shrinksOf = (moves: readonly Move[], name = 'a') => moves.filter((move) => move.name === name && isShrink(move));

t.test('a guest that was started is not shrunk for two minutes, and then gives', async (t) => {
  const world = booted();
  t.same(shrinksOf(world.run(119)), []);
  t.ok(shrinksOf(world.run(10)).length > 0);
});

t.test('one that was there when memcoord came is no start', async (t) => {
  t.ok(shrinksOf(new World([guest('a', { actual: 1500 * MiB })]).run(5)).length > 0);
});

t.test('the rest after boot can be set, per guest too', async (t) => {
  t.ok(shrinksOf(booted({}, [guest('b')], { bootRestMs: 0 }).run(5)).length > 0);
  t.ok(shrinksOf(booted({ overrides: { bootRestMs: 10_000 } }).run(15)).length > 0);
  t.same(shrinksOf(booted({ overrides: { bootRestMs: 10_000 } }).run(9)), []);
});

t.test('it is shrunk in its rest where somebody waits in need and cannot be paid', async (t) => {
  const world = booted({}, [guest('b', { used: 400 * MiB })], { pool: (1500 + 512) * MiB });
  world.run(5);
  world.find('b').used = 500 * MiB;
  const shrinks = shrinksOf(world.run(10));
  t.ok(shrinks.length > 0);
  for (const { reason, taker } of shrinks) t.match({ reason, taker }, { reason: 'make-room', taker: 'b' });
});

/** A guest that was shrunk and then reboots inside its QEMU, on a host of `total` MiB. */
function rebooted(total: number): World {
  const world = new World([guest('a', { used: 300 * MiB, actual: 500 * MiB }), guest('b')]);
  world.total = total * MiB;
  world.run(20);
  world.rebooted.add('a');
  // It holds its maximum until its driver is there again; its old figures stand.
  Object.assign(world.find('a'), { answers: false });
  return world;
}

t.test('on a reboot the target is raised to the ceiling, where the host has room', async (t) => {
  const world = rebooted(16 * 1024);
  const { moves } = world.sample();
  t.match(
    moves.filter(({ name }) => name === 'a'),
    [{ reason: 'boot', to: 2 * GiB }],
  );
  world.obey(moves);
  t.same(shrinksOf(world.run(100)), []);
});

t.test('as far as the host has room', async (t) => {
  const { moves, account } = rebooted(2100).sample();
  t.ok(account.optionalRoom < 0);
  const [boot] = moves.filter(({ reason }) => reason === 'boot');
  t.ok(boot !== undefined && boot.to > boot.from && boot.to <= 2 * GiB + account.optionalRoom, `${(boot?.to ?? 0) / MiB} MiB`);
});

t.test('and no further than the pool goes: what is given must not be taken back from anyone', async (t) => {
  const world = rebooted(64 * 1024);
  world.config = { ...world.config, pool: 1100 * MiB };
  world.run(8);
  world.find('a').answers = true;
  const moves = world.run(30);
  t.ok(world.guests.reduce((sum, { target }) => sum + target, 0) <= 1100 * MiB);
  t.same(
    moves.filter(({ reason }) => reason === 'over-capacity'),
    [],
  );
});

t.test('the way of its balloon in a boot is nobody else’s move: it gives at once to a guest that waits', async (t) => {
  const world = rebooted(64 * 1024);
  world.config = { ...world.config, pool: 1100 * MiB };
  const [a, b] = [world.find('a'), world.find('b')];
  world.obey(world.sample().moves, { arrive: false });
  const { target } = a;
  a.actual = a.maximum;
  world.run(4);
  // Its driver is there again, and takes it to its target; meanwhile another guest has come to need what was left of the pool.
  Object.assign(a, { actual: target, target, answers: true });
  b.used += 200 * MiB;
  const given = world.run(4).filter(({ name, from, to }) => name === 'a' && to < from);
  t.ok(given.length > 0);
});

t.test('guests that reboot one after another are not given the same room in the pool', async (t) => {
  const world = new World(['a', 'b', 'c'].map((name) => guest(name, { used: 300 * MiB, actual: 500 * MiB })));
  world.config = { ...world.config, pool: 2560 * MiB };
  world.run(20);
  for (const names of [['a', 'b'], ['c']]) {
    for (const name of names) {
      world.rebooted.add(name);
      world.find(name).answers = false;
    }
    world.obey(world.sample().moves, { arrive: false });
  }
  const targets = world.model.guests.map(({ target }) => target);
  t.ok(targets.reduce((sum, target) => sum + target, 0) <= 2560 * MiB, targets.map((target) => target / MiB).join(', '));
  t.ok((targets[0] ?? 0) > 1000 * MiB);
});

t.test('nor are they in the half minute after a boot, and for good: a guest is not taken to boot again and again', async (t) => {
  const world = new World([guest('a', { majorFault: 5 })], { intervalMs: 5000 });
  world.run(4, { ms: 5000 });
  world.rebooted.add('a');
  world.run(1, { ms: 5000 });
  const at = world.model.guests[0]?.rebootedAt;
  for (let round = 0; round < 40; round++) {
    world.find('a').majorFault = round % 2 === 0 ? 5 : 50;
    world.run(1, { ms: 5000 });
  }
  t.equal(world.model.guests[0]?.rebootedAt, at);
});

t.test('nor are they where a guest is seen once in ten seconds', async (t) => {
  const world = new World([guest('a', { majorFault: 5 })], { intervalMs: 10_000 });
  for (let round = 0; round < 40; round++) {
    world.find('a').majorFault = round % 2 === 0 ? 5 : 50;
    world.run(1, { ms: 10_000 });
  }
  t.equal(world.model.guests[0]?.rebootedAt, Number.NEGATIVE_INFINITY);
});

t.test('a guest whose driver never answers is reported once; that it answers is a change of phase', async (t) => {
  const world = new World([guest('a', { driver: false }), guest('b')]);
  const told = () => world.notices.filter(({ guest, kind }) => guest === 'a' && (kind === 'no-answer' || kind === 'phase'));
  world.run(25);
  t.same(told(), []);
  world.run(60);
  t.match(told(), [{ kind: 'no-answer', level: 'warn', figures: { why: 'no-driver', seconds: 30 } }]);
  Object.assign(world.find('a'), { driver: true });
  world.run(5);
  t.match(told().slice(1), [{ kind: 'phase', figures: { phase: 'steady', was: 'booting' } }]);
});
