/** The rules of ballooning that the policy owns, each by its number (docs/ballooning.md). Rule 10 is the addon's (test/native). */
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import type { Account } from '../../lib/policy/account.js';
import { briskRate, ordered, pace } from '../../lib/policy/decide.js';
import { survivableBurst } from '../../lib/policy/demand.js';
import { charge, isControlled, untouched } from '../../lib/policy/guest.js';
import { CRITICAL_SPARE, FIRST_THRASH_PAUSE, GROW_BAND, LEAST_SPARE } from '../../lib/policy/limits.js';
import type { Move } from '../../lib/policy/types.js';
import { guest, World, type WorldGuest } from './world.js';

/** A donor with much spare and a taker that is short, in a pool that is all given out. */
function donorAndTaker(): World {
  return new World([guest('donor', { actual: 1200 * MiB }), guest('taker', { actual: 800 * MiB, used: 780 * MiB })], {
    pool: 2000 * MiB,
  });
}

t.test('rule 1: a reclaim has succeeded when actual arrives, not when the call returns', async (t) => {
  const world = donorAndTaker();
  const moves = world.run(4, { arrive: false });
  t.ok(
    moves.some(({ name, to, from }) => name === 'donor' && to < from),
    'the donor was asked',
  );
  t.notOk(
    moves.some(({ name }) => name === 'taker'),
    'the taker gets nothing on a promise',
  );
});

t.test('rule 2: a receiver is raised only by memory that has come back', async (t) => {
  const world = donorAndTaker();
  for (let round = 0; round < 12; round++) {
    const { moves, account } = world.sample();
    const grown = moves.filter(({ to, from }) => to > from).reduce((sum, { to, from }) => sum + to - from, 0);
    t.ok(grown <= Math.max(0, account.room), `round ${round}: ${grown / MiB} MiB`);
    world.obey(moves);
  }
  t.ok(world.find('taker').actual >= 780 * MiB + LEAST_SPARE - GROW_BAND, 'in the end it has what it needs');
});

t.test('rule 3: a guest is charged max(target, actual)', async (t) => {
  const world = new World([guest('a')]);
  world.run(3, { arrive: false });
  const [belief] = world.model.guests;
  t.ok(belief !== undefined && belief.target < belief.actual && charge(belief) === belief.actual);
});

t.test(
  'rule 3: while it boots, reboots, or cannot be ballooned it is not charged, and may still take its maximum less what it holds',
  async (t) => {
    const world = new World([
      guest('boots', { driver: false }),
      guest('pinned', { obstacles: ['vfio device hostdev0'] }),
      guest('reboots'),
    ]);
    world.run(3);
    world.rebooted = new Set(['reboots']);
    world.find('reboots').answers = false;
    const { account } = world.sample();
    t.equal(account.charged, 0);
    t.same(world.model.guests.map(isControlled), [false, false, false]);
    t.same(
      world.model.guests.map((belief) => untouched(belief) / MiB),
      [2048 - 150, 0, 2048 - 150],
    );
    t.same(
      world.model.guests.map(({ phase }) => phase),
      ['booting', 'excluded', 'booting'],
    );
  },
);

t.test('rule 3: figures that come with the event of a reboot are of before it: the guest may still take its maximum', async (t) => {
  const world = new World([guest('a')]);
  world.run(3);
  world.rebooted = new Set(['a']);
  world.sample();
  world.find('a').answers = false;
  for (let second = 0; second < 4; second++) {
    t.equal(untouched(world.model.guests[0] as never) / MiB, 2048 - 150, `after ${second} s`);
    world.sample();
  }
});

t.test('rule 3: counters that fall after the guest reported nothing for a while are a reboot that nobody reported', async (t) => {
  const world = new World([guest('a', { majorFault: 5000 })]);
  world.run(3);
  world.find('a').answers = false;
  world.run(3);
  Object.assign(world.find('a'), { answers: true, majorFault: 10 });
  world.sample();
  t.equal(world.model.guests[0]?.phase, 'booting');
});

t.test('a guest that goes silent after it was steady is charged max(target, actual), is not moved, and is reported once', async (t) => {
  const world = new World([guest('a')]);
  world.run(10);
  world.find('a').answers = false;
  const moves = world.run(20);
  t.equal(world.model.guests[0]?.phase, 'silent');
  t.equal(charge(world.model.guests[0] as never), world.find('a').actual);
  t.same(moves, []);
  t.same(
    world.notices.filter(({ level }) => level === 'warn').map(({ kind, figures }) => [kind, figures?.phase, figures?.why]),
    [['phase', 'silent', 'figures-stand']],
  );
});

t.test('rule 4: what the guests hold above the pool is worked off and never added to', async (t) => {
  const world = new World([guest('a', { actual: 1500 * MiB, used: 700 * MiB }), guest('b', { actual: 1500 * MiB, used: 700 * MiB })], {
    pool: 2 * GiB,
  });
  world.run(2);
  let before = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 40; round++) {
    const { account, moves } = world.sample();
    t.ok(account.charged <= before);
    before = account.charged;
    t.notOk(moves.some(({ from, to }) => to > from) && account.charged > 2 * GiB);
    world.obey(moves);
  }
  t.ok(before <= 2 * GiB);
});

t.test('rule 4: the pool bounds the guests, and what the host has less its reserve bounds the pool', async (t) => {
  const world = new World([guest('a', { used: 900 * MiB, actual: 1000 * MiB })], { pool: 8 * GiB });
  world.total = 2 * GiB;
  const { account } = world.sample();
  t.ok(account.room <= 2 * GiB - 948 * MiB - account.reserve);
});

t.test('rule 5: never below the floor, nor below what the guest uses plus its critical spare', async (t) => {
  const world = new World(
    [guest('tiny', { used: 20 * MiB }), guest('busy', { used: 700 * MiB, actual: 1024 * MiB }), guest('eats', { used: 2000 * MiB })],
    { pool: 2600 * MiB },
  );
  for (const { name, to, from } of world.run(60)) {
    if (to >= from) continue;
    t.ok(to >= 256 * MiB, `${name} keeps its floor`);
    t.ok(to >= world.find(name).used + CRITICAL_SPARE, `${name} keeps its critical spare`);
  }
});

t.test('rule 5: nor for a ceiling that is less than what the guest uses', async (t) => {
  for (const max of [1, 128 * MiB, 520 * MiB]) {
    const world = new World([guest('a', { used: 500 * MiB, actual: 1024 * MiB, overrides: { max } })]);
    const moves = world.run(60);
    t.ok(moves.length > 0, 'it gives what it can spare');
    for (const { to } of moves) t.ok(to >= 500 * MiB + CRITICAL_SPARE, `${to / MiB} MiB`);
  }
});

t.test('rule 5: what a guest cannot give for its ceiling, others give', async (t) => {
  const world = new World(
    [
      guest('a', { used: 1200 * MiB, actual: 1400 * MiB, overrides: { max: 512 * MiB } }),
      guest('b', { used: 600 * MiB, actual: 900 * MiB }),
    ],
    { pool: 1930 * MiB },
  );
  world.run(60);
  t.ok(world.find('a').actual >= 1200 * MiB + CRITICAL_SPARE, 'it keeps its critical spare');
  t.ok(world.find('a').actual + world.find('b').actual <= 1930 * MiB, 'both are within the pool');
});

t.test('guests that all hold less than they need pass nothing on for a small difference', async (t) => {
  const hungry = ['a', 'b', 'c', 'd'].map((name) => guest(name, { used: 690 * MiB, actual: 768 * MiB }));
  const world = new World(hungry, { pool: 3072 * MiB });
  world.run(10);
  // Slowly: who rises is helped before the next sample.
  for (let more = 0; more < 28; more += 2) {
    world.find('a').used += 2 * MiB;
    t.same(world.run(1), []);
  }
  t.same(world.run(10), [], '21 MiB less than its part');
  world.find('a').used += 8 * MiB;
  t.ok(
    world.run(10).some(({ name, to, from }) => name === 'a' && to > from),
    '27 MiB less than its part',
  );
});

t.test('rule 6: no shrink on stale figures', async (t) => {
  const world = new World([guest('a')]);
  world.run(1);
  world.find('a').answers = false;
  t.same(
    world.run(15).filter(({ to, from }) => to < from),
    [],
  );
});

t.test('rule 6: no shrink before two samples agree; what was there when we came may be as old as the last boot', async (t) => {
  const world = new World([guest('a')]);
  t.same([...world.sample().moves, ...world.sample().moves], []);
});

t.test('rule 6: figures of another size than the balloon has now are not believed', async (t) => {
  const world = new World([guest('a', { used: -1400 * MiB, answers: false })]);
  t.same(world.run(2), []);
  Object.assign(world.find('a'), { used: 150 * MiB, answers: true });
  for (const { spare } of world.run(10)) t.ok(spare <= 362 * MiB, `${spare / MiB} MiB`);
});

t.test('rule 6: no shrink while the last change is under way', async (t) => {
  const world = new World([guest('a')]);
  world.run(3, { arrive: false });
  t.ok((world.model.guests[0]?.target ?? 0) < 512 * MiB, 'the first was ordered');
  t.same(world.sample(900).moves, [], 'and no second one before it came');
});

t.test('rule 7: no step takes more than half of the spare, or more than the pace', async (t) => {
  const world = new World([guest('a', { actual: 2 * GiB })]);
  for (const { from, to, spare } of world.run(60)) {
    t.ok(from - to <= spare / 2);
    t.ok(from - to <= 75 * MiB);
  }
  t.ok(world.find('a').actual < 600 * MiB);
});

t.test('rule 7: without progress the target goes back above actual, and the guest is left alone for a doubling time', async (t) => {
  const world = new World([guest('a')]);
  const rolledBack: number[] = [];
  for (let round = 0; round < 120; round++) {
    const { moves } = world.sample();
    for (const move of moves) {
      if (move.reason !== 'no-progress') continue;
      t.ok(move.to > world.find('a').actual, 'above actual');
      rolledBack.push(world.at);
    }
    world.obey(moves, { arrive: false });
  }
  t.ok(rolledBack.length >= 3, `${rolledBack.length} rollbacks`);
  const [first = 0, second = 0, third = 0] = rolledBack;
  t.ok(third - second > 1.5 * (second - first), 'the pause grows');
  t.match(
    world.notices.find(({ kind }) => kind === 'stuck'),
    { level: 'warn', guest: 'a', figures: { why: 'does-not-give', actual: 512 * MiB } },
  );
});

t.test('rule 7: also where the guest holds more than its ceiling', async (t) => {
  const world = new World([guest('a', { actual: 1024 * MiB, overrides: { max: 512 * MiB } })]);
  const moves: Move[] = [];
  for (let round = 0; round < 30; round++) {
    const made = world.sample().moves;
    moves.push(...made);
    world.obey(made, { arrive: false });
  }
  const back = moves.find(({ reason }) => reason === 'no-progress');
  t.ok(back !== undefined && back.to >= world.find('a').actual, 'the target goes back to what it holds');
});

t.test('rule 7: a shrink that leaves nearly nothing spare is taken back at once', async (t) => {
  const world = new World([guest('a')]);
  world.run(3, { arrive: false });
  world.find('a').used = 490 * MiB;
  const [move] = world.sample(400).moves;
  t.equal(move?.reason, 'relief');
  t.ok((move?.to ?? 0) >= 490 * MiB + LEAST_SPARE);
});

t.test('rule 8: relief comes first when there is too little for all', async (t) => {
  const world = new World([guest('short', { used: 490 * MiB }), guest('comfortable', { used: 430 * MiB })], { pool: 1100 * MiB });
  world.sample();
  world.sample();
  const { moves } = world.sample();
  t.equal(moves[0]?.name, 'short');
  t.equal(moves[0]?.reason, 'relief');
});

t.test('rule 9: nobody moves a paused guest', async (t) => {
  const world = new World([guest('a'), guest('b', { used: 500 * MiB })]);
  world.run(2, { arrive: false });
  for (const each of world.guests) each.state = 3;
  t.same(world.run(5), []);
});

t.test('rule 9: a paused guest stays paused in samples of others, and is reported once', async (t) => {
  const world = new World([guest('paused'), guest('b')]);
  world.run(2, { arrive: false });
  world.find('paused').state = 3;
  world.sample();
  world.notices = [];
  world.unread.add('paused');
  const moved = world.run(3, { ms: 200 }).map(({ name }) => name);
  t.notOk(moved.includes('paused'));
  t.equal(world.model.guests[0]?.phase, 'paused');
  world.unread.clear();
  world.sample();
  t.same(world.notices, []);
});

t.test(
  'rule 9: a guest that libvirt migrates, saves or dumps is not moved, is charged as before, and is coordinated again at once',
  async (t) => {
    for (const [job, why] of [
      [4, 'migrating'],
      [5, 'migrating'],
      [8, 'has-job'],
      [0, 'has-job'],
    ] as const) {
      const world = new World([guest('held'), guest('b')]);
      world.run(3);
      t.ok(world.model.guests[0] !== undefined && world.model.guests[0].target < 512 * MiB, 'a shrink is under way');
      world.find('held').job = job;
      world.notices = [];
      const moved = world.run(5);
      t.notOk(moved.some(({ name }) => name === 'held'));
      t.ok(moved.some(({ name }) => name === 'b'));
      t.match(world.model.guests[0], { phase: 'paused', why });
      t.match(world.notices, [{ kind: 'phase', guest: 'held', figures: { phase: 'paused', why } }]);
      t.ok(world.model.guests[0] !== undefined && isControlled(world.model.guests[0]), 'it is still charged');
      world.unread.add('held');
      world.sample();
      t.match(world.model.guests[0], { phase: 'paused', why }, 'a sample of others says nothing of it');
      world.unread.clear();
      world.find('held').job = Number.NaN;
      t.ok(world.run(3).some(({ name }) => name === 'held'));
      t.equal(world.model.guests[0]?.phase, 'steady');
    }
  },
);

t.test('a guest that was paused is given as much time as others until its figures come, or its balloon moves', async (t) => {
  const world = new World([guest('a')]);
  world.run(3, { arrive: false });
  t.ok((world.model.guests[0]?.target ?? 0) < 512 * MiB, 'a shrink is under way');
  const it = world.find('a');
  it.answers = false;
  it.state = 3;
  world.run(20);
  it.state = 1;
  world.notices = [];
  t.same(world.run(1), []);
  t.same(
    world.notices.map(({ kind, figures }) => [kind, figures?.phase]),
    [['phase', 'steady']],
  );
  it.actual = it.target;
  world.run(5);
  t.equal(world.model.guests[0]?.phase, 'steady');
  world.run(5);
  t.equal(world.model.guests[0]?.phase, 'silent');
});

t.test('rule 11: a SetMemory that timed out keeps the higher charge', async (t) => {
  const world = new World([guest('a')]);
  world.sample();
  world.sample();
  const [move] = world.sample().moves;
  if (move === undefined) throw new Error('a shrink was expected');
  world.model = ordered(world.model, [{ move, outcome: 'unknown' }], world.at);
  t.equal(world.model.guests[0]?.target, move.from);
});

t.test('rule 13: what somebody else set is adopted, not shrunk for five intervals, and reported once', async (t) => {
  const world = new World([guest('a')]);
  world.run(12);
  world.find('a').actual = 512 * MiB;
  t.same(world.run(5), []);
  t.equal(world.notices.filter(({ kind }) => kind === 'adopted').length, 1);
  t.ok(
    world.run(10).some(({ to, from }) => to < from),
    'then it is coordinated again',
  );
});

t.test('rule 13: somebody who goes on moving a guest is reported once a minute', async (t) => {
  const world = new World([guest('a')]);
  world.run(12);
  for (let round = 0; round < 50; round++) {
    world.find('a').actual = (round % 4 < 2 ? 512 : 700) * MiB;
    world.sample();
  }
  t.equal(world.notices.filter(({ kind }) => kind === 'adopted').length, 1);
});

t.test('rule 13: an external shrink into distress is answered by growth at once', async (t) => {
  const world = new World([guest('a', { used: 400 * MiB, actual: 600 * MiB })]);
  world.run(12);
  world.find('a').actual = 410 * MiB;
  const [move] = world.sample().moves;
  t.ok(move !== undefined && move.to >= 500 * MiB, `${move?.reason}`);
});

t.test('rule 14: small differences move nobody', async (t) => {
  const world = new World([guest('a')]);
  world.run(30);
  for (let round = 0; round < 30; round++) {
    world.find('a').used += (round % 2 === 0 ? 4 : -4) * MiB;
    t.same(world.sample().moves, []);
  }
});

t.test('rule 14: a guest whose use comes in bursts is not shrunk between two of them', async (t) => {
  const world = new World([guest('a', { used: 400 * MiB })]);
  world.run(6);
  const moves = [];
  for (let burst = 0; burst < 5; burst++) {
    world.find('a').used += 60 * MiB;
    moves.push(...world.run(4, { ms: 400 }));
    world.find('a').used -= 25 * MiB;
    moves.push(...world.run(4, { ms: 400 }));
  }
  t.ok(moves.length >= 4, 'it grows');
  t.same(
    moves.filter(({ to, from }) => to < from),
    [],
  );
});

t.test('rule 14: a rise of swap-in after a shrink takes it back and doubles the pause', async (t) => {
  const world = new World([guest('cache', { actual: 1024 * MiB })]);
  world.run(4);
  const shrunk = world.find('cache').actual;
  world.find('cache').swapIn += 20 * MiB;
  const [move] = world.sample().moves;
  t.equal(move?.reason, 'thrashing');
  t.ok((move?.to ?? 0) > shrunk);
  world.obey(move === undefined ? [] : [move]);
  t.same(
    world.run(10).filter(({ to, from }) => to < from),
    [],
    'no shrink in the pause',
  );
});

t.test('while the host itself is short nobody grows but in need', async (t) => {
  const world = new World([guest('wants', { used: 410 * MiB }), guest('starves', { used: 490 * MiB })]);
  world.pressure = true;
  t.same(
    [
      ...new Set(
        world
          .run(5)
          .filter(({ to, from }) => to > from)
          .map(({ name }) => name),
      ),
    ],
    ['starves'],
  );
});

t.test('figures that cannot be are no answer', async (t) => {
  const world = new World([guest('liar', { used: -3 * GiB })]);
  t.same(world.run(10), []);
  t.not(world.model.guests[0]?.phase, 'steady');
});

t.test('a guest that goes silent in the middle of a shrink has the shrink taken back: that is distress, not idleness', async (t) => {
  const world = new World([guest('a')]);
  world.run(3, { arrive: false });
  t.ok((world.model.guests[0]?.target ?? 0) < 512 * MiB, 'a shrink is under way');
  world.find('a').answers = false;
  const moves = [];
  for (let round = 0; round < 9; round++) {
    world.find('a').actual -= 5 * MiB;
    moves.push(...world.run(1, { arrive: false }));
  }
  t.equal(moves.length, 1);
  t.match(moves[0], { reason: 'silent' });
  t.ok((moves[0]?.to ?? 0) >= world.find('a').actual);
});

t.test('a rollback that cannot be paid for does not keep the guest from growing later', async (t) => {
  const world = new World(
    [guest('cache', { actual: 1024 * MiB }), guest('other', { actual: 1024 * MiB, used: 1000 * MiB, overrides: { max: 1024 * MiB } })],
    { pool: 2 * GiB },
  );
  world.run(4);
  world.find('cache').swapIn += 20 * MiB;
  world.find('other').actual += 2 * GiB - world.find('cache').actual - world.find('other').actual;
  world.run(2);
  world.find('cache').used = 900 * MiB;
  world.find('other').actual = 900 * MiB;
  world.find('other').used = 700 * MiB;
  t.ok(world.run(10).some(({ name, to, from }) => name === 'cache' && to > from));
});

t.test('while somebody waits no more is under way than can be passed on at once', async (t) => {
  const world = new World([guest('a', { actual: 1200 * MiB }), guest('b', { actual: 1200 * MiB }), guest('taker', { used: 500 * MiB })], {
    pool: 2912 * MiB,
  });
  world.sample();
  world.sample();
  let seen = 0;
  for (let round = 0; round < 8; round++) {
    const { moves } = world.sample(300);
    const taken = moves.filter(({ reason }) => reason === 'make-room').reduce((sum, { from, to }) => sum + from - to, 0);
    t.ok(taken <= 48 * MiB, `${taken / MiB} MiB`);
    seen += taken;
    world.obey(moves);
  }
  t.ok(seen > 0);
});

t.test('a receiver does not starve while many donors each hold a little too much', async (t) => {
  const names = Array.from({ length: 12 }, (_, i) => `g${i}`);
  const world = new World(
    names.map((name) => guest(name, { actual: 500 * MiB, used: 400 * MiB })),
    { pool: 6000 * MiB },
  );
  world.run(10);
  for (let round = 0; round < 40; round++) {
    if (round < 7) world.find('g0').used += 18 * MiB;
    world.run(1);
  }
  t.ok(world.find('g0').actual - world.find('g0').used > CRITICAL_SPARE);
});

t.test('donors that never give do not keep the others from giving', async (t) => {
  const stuck = Array.from({ length: 12 }, (_, i) => guest(`stuck${i}`, { actual: 1500 * MiB }));
  const good = [guest('good', { actual: 1200 * MiB }), guest('taker', { used: 500 * MiB })];
  const world = new World([...stuck, ...good], { pool: (12 * 1500 + 1200 + 512) * MiB });
  let rounds = 0;
  while (world.find('taker').actual < 600 * MiB && rounds++ < 40) {
    for (const move of world.sample().moves) world.obey([move], { arrive: !move.name.startsWith('stuck') });
  }
  t.ok(rounds < 12, `${rounds} rounds`);
});

t.test('a guest that somebody is raising is not stopped on its way by a grant of less', async (t) => {
  const world = new World([guest('a', { actual: 300 * MiB, used: 160 * MiB })]);
  world.run(4);
  Object.assign(world.find('a'), { actual: 330 * MiB, used: 240 * MiB });
  t.same(world.sample(100).moves, [], 'it is on its way to where nobody knows');
  world.find('a').actual = 512 * MiB;
  t.same(world.sample(100).moves, []);
  world.find('a').used = 460 * MiB;
  t.match(world.sample(100).moves, [{ reason: 'relief' }], 'once it is there, it gets what it needs');
});

t.test('a growth that does not come stays charged until libvirt has been asked otherwise', async (t) => {
  const world = new World([guest('a', { actual: 462 * MiB, used: 330 * MiB })]);
  world.run(4);
  world.find('a').used = 440 * MiB;
  const [grown] = world.sample().moves;
  t.ok(grown !== undefined && grown.to > grown.from);
  world.obey(grown === undefined ? [] : [grown], { arrive: false });
  let back = world.sample().moves[0];
  for (let round = 0; back === undefined && round < 4; round++) {
    t.equal(charge(world.model.guests[0] as never), grown?.to);
    back = world.sample().moves[0];
  }
  t.match(back, { reason: 'no-progress', to: 462 * MiB });
});

t.test('no progress is judged by readings, not by the time that passed without any', async (t) => {
  const world = new World([guest('a')], { intervalMs: 5000 });
  world.run(3, { ms: 5000, arrive: false });
  t.ok((world.model.guests[0]?.target ?? 0) < 512 * MiB, 'a shrink is under way');
  world.unread.add('a');
  t.same(world.run(10, { ms: 500 }), []);
});

t.test('a reboot reported while the guest is not read is not lost', async (t) => {
  const world = new World([guest('a')]);
  world.run(4);
  world.unread.add('a');
  world.find('a').answers = false;
  world.rebooted = new Set(['a']);
  world.sample();
  world.unread.clear();
  world.sample();
  t.equal(world.model.guests[0]?.phase, 'booting');
  t.equal(untouched(world.model.guests[0] as never), (2048 - 150) * MiB);
});

t.test('one shrink that makes a guest swap for long is one failure', async (t) => {
  const world = new World([guest('cache', { actual: 1024 * MiB })]);
  world.run(4);
  for (let round = 0; round < 6; round++) {
    world.find('cache').swapIn += 20 * MiB;
    world.run(1);
  }
  t.equal(world.model.guests[0]?.pause, 2 * FIRST_THRASH_PAUSE);
});

t.test('a guest paused before it ever answered, or in its reboot, may take its maximum when it goes on', async (t) => {
  const world = new World([guest('never', { driver: false, state: 3 }), guest('rebooted')]);
  world.run(4);
  world.rebooted = new Set(['rebooted']);
  Object.assign(world.find('rebooted'), { state: 3, answers: false });
  world.sample();
  t.same(
    world.model.guests.map((belief) => untouched(belief) / MiB),
    [2048 - 150, 2048 - 150],
  );
});

t.test('with the signal unused a guest is relieved as early as with usable: the watermarks are no memory to use', async (t) => {
  for (const signal of ['usable', 'unused'] as const) {
    const world = new World([guest('a', { used: 480 * MiB })], { signal });
    world.pressure = true;
    t.ok(
      world.run(6).some(({ reason }) => reason === 'relief'),
      signal,
    );
  }
});

t.test('what somebody sets right after our own order is adopted too', async (t) => {
  const world = new World([guest('a', { actual: 800 * MiB })]);
  world.run(2);
  world.obey(world.sample().moves, { arrive: false });
  world.find('a').actual = 1500 * MiB;
  world.run(4, { ms: 500 });
  t.ok(world.notices.some(({ kind }) => kind === 'adopted'));
  t.equal(world.model.guests[0]?.target, 1500 * MiB);
});

t.test('a refused move is tried again after a growing pause, not at every sample', async (t) => {
  const world = new World([guest('a', { used: 490 * MiB })]);
  let tried = 0;
  for (let round = 0; round < 75; round++) {
    for (const move of world.sample(400).moves) {
      tried++;
      world.model = ordered(world.model, [{ move, outcome: 'failed' }], world.at);
    }
  }
  t.ok(tried >= 3 && tried <= 7, `${tried} tries in 30 s`);
});

t.test('after a gap in the readings figures that are new to us can be as old as the gap', async (t) => {
  const world = new World([guest('a', { actual: 1024 * MiB })]);
  world.run(4, { arrive: true });
  const before = world.at;
  world.unread.add('a');
  for (let round = 0; round < 20; round++) world.sample();
  world.unread.clear();
  t.same(
    world.sample().moves.filter(({ from, to }) => to < from),
    [],
    'no shrink on what may be 20 s old',
  );
  t.equal(world.model.guests[0]?.figuresAt, before, 'no older than the last reading: that is all that is known');
  world.sample();
  t.equal(world.model.guests[0]?.phase, 'steady', 'the next figures are new');
});

t.test('rule 4: what a balloon gives is room once the host has it, and not before', async (t) => {
  const world = new World([guest('gives', { actual: 1024 * MiB, touched: 1024 * MiB }), guest('other')]);
  world.total = 4 * GiB;
  world.run(2);
  const { account, moves } = world.sample();
  t.ok(moves.some(({ name, from, to }) => name === 'gives' && to < from));
  world.obey(moves, { arrive: false });
  t.equal(world.sample(100).account.room, account.room, 'a shrink under way is no room');
  const given = world.find('gives').actual - world.find('gives').target;
  world.unread.add('gives');
  world.available = world.total - world.rss('gives') - world.rss('other') + given;
  t.equal(world.sample(100).account.room, account.room + given, 'whether or not the guest is read, it counts once');
  world.unread.clear();
  world.available = null;
  world.find('gives').actual -= given;
  t.equal(world.sample(100).account.room, account.room + given);
});

/** The rise that the first guest is shown to survive, MiB/s, while nobody else takes anything. */
function burstOf(world: World, account: Account): number {
  const [belief] = world.model.guests;
  return belief === undefined ? Number.NaN : survivableBurst(belief, world.config, account, 1) / MiB;
}

t.test('the burst that is shown counts what is yet to be taken from the guest', async (t) => {
  const world = new World([guest('a', { actual: 1024 * MiB, used: 150 * MiB })]);
  world.total = 1400 * MiB;
  world.run(3);
  const { moves, account } = world.sample();
  t.ok(moves.length > 0);
  const { allocation = 0, used = 0 } = world.model.guests[0] ?? {};
  const shown = burstOf(world, account);
  t.ok(shown <= (allocation - used + Math.max(0, account.room)) / 3 / MiB);
  world.obey(moves, { arrive: false });
  t.equal(burstOf(world, world.sample(100).account), shown, 'the shrink under way takes nothing that was promised');
});

t.test('a guest is promised no rise faster than the burst that samples are timed for', async (t) => {
  const world = new World([guest('a', { actual: 1500 * MiB })]);
  world.run(60);
  t.equal(burstOf(world, world.sample().account), 200);
});

t.test('a guest is promised no more than its spare lasts for until memcoord reacts', async (t) => {
  const world = new World([guest('a', { used: 410 * MiB })], { pool: 1024 * MiB });
  world.pressure = true;
  world.run(4);
  const { account } = world.sample();
  const { actual = 0, reaction = 0 } = world.model.guests[0] ?? {};
  t.ok(reaction < 1000 && account.room > 0);
  t.equal(burstOf(world, account), Math.min(200, (((actual - 410 * MiB) / reaction) * 1000) / MiB));
});

t.test('where there is no room a guest is promised what its own spare lasts for', async (t) => {
  const world = new World([guest('a', { used: 400 * MiB })], { pool: 512 * MiB });
  world.run(3);
  const { account } = world.sample();
  const { allocation = 0, used = 0 } = world.model.guests[0] ?? {};
  t.equal(account.room, 0);
  t.equal(burstOf(world, account), (allocation - used) / 3 / MiB);
});

t.test('a guest is promised no more of its own spare than the host has above its reserve', async (t) => {
  const world = new World([guest('a', { actual: 1024 * MiB, used: 150 * MiB })]);
  world.total = 1024 * MiB;
  world.available = 572 * MiB;
  world.run(2);
  t.equal(burstOf(world, world.sample().account), 20);
});

t.test('the last few MiB to its ceiling are asked of others too', async (t) => {
  const world = new World([guest('a', { maximum: 620 * MiB, actual: 617 * MiB, used: 560 * MiB }), guest('b', { actual: 1000 * MiB })], {
    pool: 1617 * MiB,
    surplus: 'guests',
  });
  world.run(6);
  t.equal(world.find('a').target, 620 * MiB);
});

/** A guest that a shrink made fault, on the way back to the size before. */
function thrashing(settings: Partial<WorldGuest> = {}): World {
  const world = new World([guest('a', { actual: 1000 * MiB, used: 400 * MiB, touched: 1000 * MiB, ...settings })]);
  while (world.find('a').actual > 700 * MiB) world.run(1);
  world.find('a').majorFault += 1000;
  return world;
}

t.test('what a guest gets back in part, for want of room, it gets in full once there is room', async (t) => {
  const world = thrashing();
  const before = world.find('a').actual;
  world.available = 550 * MiB;
  world.total = 4 * GiB;
  world.run(6);
  const part = world.find('a').actual;
  world.available = 3 * GiB;
  world.run(6);
  t.ok(part < before + 100 * MiB && world.find('a').actual > part, `${before / MiB}, ${part / MiB}, ${world.find('a').actual / MiB}`);
});

t.test('faults that a guest has come to have since it was shrunk are not usual', async (t) => {
  const world = new World([guest('a', { actual: 1500 * MiB, used: 300 * MiB })]);
  world.run(10);
  for (let faults = 0; faults < 90; faults += 3) {
    world.find('a').majorFault += faults;
    world.run(1);
  }
  t.equal(world.model.guests[0]?.usualFaults, 0);
});

t.test('a guest in its pause after such a shrink is asked again where the host will soon lack memory, and not before', async (t) => {
  const world = thrashing();
  world.run(5);
  world.total = 4 * GiB;
  world.available = 2 * GiB;
  t.same(
    world.run(5).filter(({ to, from }) => to < from),
    [],
  );
  world.available = 300 * MiB;
  t.ok(world.run(5).some(({ to, from, reason }) => to < from && reason === 'over-capacity'));
});

t.test('what cannot be had from a guest in its pause others are asked for', async (t) => {
  const paused = guest('paused', { actual: 1000 * MiB, used: 300 * MiB, touched: 1000 * MiB });
  const world = new World([paused, guest('waits', { used: 500 * MiB }), guest('gives', { actual: 640 * MiB, used: 500 * MiB })]);
  world.run(2, { arrive: false });
  for (let round = 0; world.model.guests[0]?.phase !== 'stuck' && round < 20; round++) world.run(1, { arrive: false });
  t.equal(world.model.guests[0]?.phase, 'stuck');
  world.config = { ...world.config, pool: world.guests.reduce((sum, { actual }) => sum + actual, 0) };
  world.find('waits').used = world.find('waits').actual - 40 * MiB;
  t.ok(world.run(4).some(({ name, taker }) => name === 'gives' && taker === 'waits'));
});

t.test('donors are asked for more, the more the host will lack, as fast as their balloons go at most', async (t) => {
  const world = new World([guest('a', { used: 400 * MiB, actual: GiB }), guest('idle', { actual: 4 * GiB, maximum: 4 * GiB })]);
  world.total = 8 * GiB;
  world.run(2);
  world.available = 2 * GiB;
  world.sample();
  const paceAfter = (lossMiB: number) => {
    world.available = (world.available ?? 0) - lossMiB * MiB;
    const { account, model } = world.sample();
    return pace(model.guests[0] as never, briskRate(account)) / MiB;
  };
  t.equal(paceAfter(0), 75);
  // 2 GiB − 300 MiB are 1236 MiB above the reserve, and gone in four seconds and a bit.
  t.equal(paceAfter(300), 75);
  const brisk = paceAfter(300);
  t.ok(brisk > 200 && brisk < 1200 - (2048 - 600 - 512), `${brisk} MiB/s`);
  t.equal(paceAfter(400), 400, 'its balloon is taken to go at 400 MiB/s');
});

t.test('a rise between two figures that came by themselves is not taken for one of the time between two readings', async (t) => {
  const world = new World([guest('a', { actual: 1500 * MiB, used: 300 * MiB })], { burstKiBs: 400 * MiB });
  world.run(3);
  // Taken at any moment of the second before, and again a tenth of a second after it was seen.
  world.find('a').used += 100 * MiB;
  world.refreshed.add('a');
  world.sample(100);
  const { trend = 0 } = world.model.guests[0] ?? {};
  t.ok(trend > 80 * MiB && trend < 120 * MiB, `${trend / MiB} MiB/s`);
});

t.test('the trend of a guest that is only swept is the rise of its use', async (t) => {
  const world = new World([guest('a', { actual: 2 * GiB, used: 200 * MiB })], { samplingBudget: 0 });
  world.run(3, { arrive: false });
  for (let second = 0; second < 12; second++) {
    world.find('a').used += 60 * MiB;
    world.sample();
  }
  const { trend = 0 } = world.model.guests[0] ?? {};
  t.ok(trend > 57 * MiB && trend < 63 * MiB, `${trend / MiB} MiB/s`);
});

t.test('a dip of the host’s memory does not take a guest out of its pause, nor anything in haste', async (t) => {
  const world = thrashing();
  world.run(5);
  world.total = 4 * GiB;
  world.available = 1700 * MiB;
  world.run(5);
  world.available -= 25 * MiB;
  t.same(world.run(1, { ms: 100 }), []);
});

t.test('a size that somebody sets is newer than one that a guest was to get back', async (t) => {
  const world = thrashing();
  world.total = 4 * GiB;
  world.available = 550 * MiB;
  world.run(4);
  t.equal(world.model.guests[0]?.rollback?.reason, 'thrashing');
  Object.assign(world.find('a'), { actual: 550 * MiB, target: 550 * MiB });
  world.available = 3 * GiB;
  t.ok(world.run(6).every(({ reason }) => reason !== 'thrashing'));
});

t.test('a guest that gives in haste, though nobody waits, goes on giving', async (t) => {
  const idle = guest('idle', { driver: false, maximum: 4 * GiB, used: 100 * MiB });
  const world = new World([guest('gives', { actual: 3 * GiB, maximum: 4 * GiB, touched: 3 * GiB, used: 300 * MiB }), idle]);
  world.total = 6 * GiB;
  world.run(3);
  world.available = 1400 * MiB;
  for (let second = 0; second < 4; second++) {
    world.available -= 150 * MiB;
    t.ok(
      world.run(1).some(({ from, to }) => to < from),
      `in second ${second}`,
    );
  }
});

t.test('what the host loses is seen where its pages are of files, or a cgroup bounds it, too', async (t) => {
  const losing = (settings: Partial<WorldGuest>, cgroup: boolean) => {
    const world = new World([guest('a', { actual: 3 * GiB, maximum: 4 * GiB, used: 300 * MiB, ...settings })]);
    world.total = 8 * GiB;
    world.run(1, { arrive: false });
    for (let round = 0; round < 10; round++) {
      world.find('a').used += 20 * MiB;
      if (cgroup) world.cgroupRoom = 4 * GiB - round * 20 * MiB;
      world.run(1, { ms: 200, arrive: false });
    }
    return world.model.drain / MiB;
  };
  t.ok(losing({ backing: 'file' }, false) > 60);
  t.ok(losing({ touched: 3 * GiB }, true) > 60);
});

t.test('what a guest was given and does not count as free yet is no rise of its use', async (t) => {
  const trendOf = (given: number, used: number, hidden: number) => {
    const world = new World([guest('a', { actual: 700 * MiB, used: 500 * MiB, hidden: 20 * MiB })]);
    world.run(3, { arrive: false });
    world.refreshed.add('a');
    for (let round = 0; round < 5; round++) {
      const each = world.find('a');
      each.actual += given;
      each.used += used;
      each.hidden += hidden;
      world.sample(200);
    }
    return (world.model.guests[0]?.trend ?? Number.NaN) / MiB;
  };
  const step = 4 * MiB;
  t.equal(trendOf(step, 0, step), 0, 'given, and all of it hidden');
  const taken = { 'of what counts as free': trendOf(0, step, 0), 'as it is given': trendOf(step, step, 0) };
  for (const [how, trend] of Object.entries(taken)) t.ok(trend > 19 && trend < 21, `${how}: ${trend} MiB/s`);
});

t.test('memory that a guest was given before is seen to be taken, though its use does not rise', async (t) => {
  const world = new World([guest('a', { actual: 700 * MiB, used: 500 * MiB })]);
  world.run(3, { arrive: false });
  world.refreshed.add('a');
  const live = (ms: number, given: number, used: number, hidden: number) => {
    const each = world.find('a');
    each.actual += given;
    each.used += used;
    each.hidden += hidden;
    world.sample(ms);
    return (world.model.guests[0]?.trend ?? Number.NaN) / MiB;
  };
  for (let round = 0; round < 5; round++) live(200, 8 * MiB, 0, 8 * MiB);
  let trend = 0;
  for (let round = 0; round < 3; round++) trend = live(1000, 0, 12 * MiB, -12 * MiB);
  t.ok(trend > 10 && trend < 13, `${trend} MiB/s`);
});

t.test('guests that share what there is do not pass it to and fro for what one of them does not count as free', async (t) => {
  const names = ['a', 'b', 'c', 'd'];
  const world = new World(
    names.map((name) => guest(name, { actual: 1536 * MiB, used: 1476 * MiB, touched: 1536 * MiB })),
    { pool: 4 * 1536 * MiB },
  );
  world.run(10);
  const [first] = world.guests;
  if (first === undefined) throw new Error('there is no guest');
  // Its kernel makes huge pages of small ones, and keeps what that frees.
  first.used += 12 * MiB;
  for (const name of names) world.refreshed.add(name);
  let most = 0;
  for (let round = 0; round < 40; round++) {
    const before = world.guests.map(({ actual }) => actual);
    world.obey(world.sample(150).moves);
    for (const [i, each] of world.guests.entries()) {
      const grown = each.actual - (before[i] ?? Number.NaN);
      each.hidden = Math.min(50 * MiB, Math.max(0, each.hidden + grown));
    }
    most = Math.max(most, ...world.guests.map(({ actual }) => Math.abs(actual - 1536 * MiB)));
  }
  t.ok(most <= 24 * MiB, `${most / MiB} MiB`);
});
