/** Do no harm: who is taken from, for whom, and who is not (docs/ballooning.md, rule 15). */
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { reserveOf } from '../../lib/policy/account.js';
import { PROGRESS_WINDOW, RESERVE_MARGIN, SAME } from '../../lib/policy/limits.js';
import { plan } from '../../lib/policy/plan.js';
import type { Move } from '../../lib/policy/types.js';
import { STRIDE, USABLE } from '../../lib/sweep.js';
import { guest, NOTHING_WRONG, World } from './world.js';

const shrinks = (moves: readonly Move[]) => moves.filter(({ from, to }) => to < from);
const need = ({ model }: World, name: string) => model.guests.find((belief) => belief.name === name)?.need ?? Number.NaN;

/** Guests that are not controlled and could together take more than the host has. */
const ODD = {
  'has no driver': { driver: false },
  'is left out': { included: false },
  'is not managed': { overrides: { manage: false } },
  'has virtio-mem': { obstacles: ['virtio-mem'], virtioMem: 24 * GiB },
  'hangs at its start': { answers: false, driver: true },
} as const;

for (const [kind, settings] of Object.entries(ODD)) {
  t.test(`beside a guest of 24 GiB that ${kind} nobody is squeezed, and need is paid`, async (t) => {
    const { obstacles = [], ...rest } = { obstacles: undefined, ...settings };
    const odd = guest('odd', { maximum: 24 * GiB, actual: 24 * GiB, used: 2 * GiB, ...rest, obstacles: [...(obstacles ?? [])] });
    const world = new World([odd, guest('eats', { used: 420 * MiB }), guest('cushioned', { used: 350 * MiB })]);
    world.total = 24 * GiB;
    const moves: Move[] = [];
    for (let round = 0; round < 60; round++) {
      const eats = world.find('eats');
      eats.used = Math.min(1200 * MiB, eats.used + 18 * MiB);
      moves.push(...world.run(1));
      t.ok(eats.actual >= eats.used + 48 * MiB, `round ${round}: ${(eats.actual - eats.used) / MiB} MiB to spare`);
    }
    for (const { name, to } of shrinks(moves)) t.ok(to >= need(world, name) - SAME, `${name} to ${to / MiB}`);
    t.ok(world.find('eats').actual >= 1300 * MiB);
  });
}

/** A donor that has more than it needs and less than it wants, beside one that comes into need, in a pool with `free` MiB left. */
function pressed(free: number): World {
  const world = new World([guest('donor', { used: 400 * MiB }), guest('taker', { used: 400 * MiB })], { pool: (1024 + free) * MiB });
  world.run(5);
  world.find('taker').used = 470 * MiB;
  return world;
}

t.test('need is paid from the room, and from nobody while that is enough', async (t) => {
  const world = pressed(200);
  t.same(shrinks(world.run(5)), []);
  t.ok(world.find('taker').actual >= 569 * MiB);
});

t.test('where the room cannot pay it, need is paid by others, and the move names the guest that takes it', async (t) => {
  const moves = shrinks(pressed(0).run(8));
  t.ok(moves.length > 0);
  for (const { name, reason, taker } of moves) t.match({ name, reason, taker }, { name: 'donor', reason: 'make-room', taker: 'taker' });
});

t.test('of several that wait, the one that lacks most is named', async (t) => {
  const world = new World(
    [guest('donor', { actual: 1500 * MiB, used: 1300 * MiB }), guest('some', { used: 380 * MiB }), guest('most', { used: 380 * MiB })],
    { pool: 2524 * MiB },
  );
  world.run(4);
  world.find('donor').used = 300 * MiB;
  world.find('some').used = 480 * MiB;
  world.find('most').used = 495 * MiB;
  const named = new Set(shrinks(world.sample().moves).map(({ taker }) => taker));
  t.same([...named], ['most']);
});

t.test('what is given while nobody waits is given for nobody', async (t) => {
  const moves = shrinks(new World([guest('a', { actual: 1500 * MiB })]).run(5));
  t.ok(moves.length > 0);
  for (const { reason, taker } of moves) t.match({ reason, taker }, { reason: 'give', taker: null });
});

t.test(
  'where the host is under its reserve guests give for nobody, no more than is missing, and none into its critical spare',
  async (t) => {
    const world = new World([guest('a', { used: 400 * MiB }), guest('b', { actual: 1500 * MiB, touched: 1500 * MiB })]);
    world.total = 3 * GiB;
    world.run(2);
    world.available = 400 * MiB;
    t.ok(world.sample().account.shortage > 112 * MiB, 'while it falls there is to be less');
    for (let ms = 0; ms < 10_000; ms += 1000) world.sample();
    const { moves, account } = world.sample();
    t.equal(Math.round(account.shortage), 112 * MiB);
    const taken = shrinks(moves);
    t.ok(taken.length > 0 && taken.reduce((sum, { from, to }) => sum + from - to, 0) <= 112 * MiB + 8);
    for (const { reason, taker } of taken) t.match({ reason, taker }, { reason: 'over-capacity', taker: null });
    world.available = 0;
    for (const { name, to } of shrinks(world.run(40))) t.ok(to >= world.find(name).used + 48 * MiB);
  },
);

t.test('where there is no room for cushions nobody gives its own, and nobody gets one', async (t) => {
  const blind = guest('blind', { driver: false, maximum: 32 * GiB, used: GiB });
  const world = new World([
    blind,
    guest('has', { actual: 565 * MiB, used: 440 * MiB }),
    guest('wants', { actual: 545 * MiB, used: 440 * MiB }),
  ]);
  world.total = 16 * GiB;
  t.same(world.run(30), []);
  t.ok((world.model.guests[2]?.want ?? 0) > 545 * MiB);
});

t.test('with surplus: guests nobody is taken from for it where there is no room', async (t) => {
  const blind = guest('blind', { driver: false, maximum: 32 * GiB, used: GiB });
  const world = new World(
    [blind, guest('has', { actual: 565 * MiB, used: 440 * MiB }), guest('wants', { actual: 545 * MiB, used: 440 * MiB })],
    {
      surplus: 'guests',
    },
  );
  world.total = 16 * GiB;
  t.same(world.run(30), []);
});

t.test('need and what guests had before us together leave an eighth of the reserve above it', async (t) => {
  const world = new World(
    [guest('needs', { actual: 560 * MiB, used: 550 * MiB, cpu: 0 }), guest('had', { actual: 400 * MiB, used: 150 * MiB, cpu: 0 })],
    { samplingBudget: 0 },
  );
  world.remembered.set('had', { ...NOTHING_WRONG, original: 1500 * MiB, target: 400 * MiB });
  const calm = reserveOf({ total: world.total, hugePages: 0 }, world.config) * (1 + RESERVE_MARGIN);
  world.available = calm + 120 * MiB;
  let spent = 0;
  for (let round = 0; round < 4 && spent === 0; round++) {
    const { moves } = world.sample();
    spent = moves.reduce((sum, { from, to }) => sum + Math.max(0, to - from), 0);
    world.obey(moves);
  }
  t.ok(spent > 60 * MiB && spent <= 120 * MiB, `${spent / MiB} MiB of 120`);
});

t.test('a floor that nobody has set is no more than what a guest had, from the first sample on', async (t) => {
  const world = new World([
    guest('small', { actual: 167 * MiB, used: 60 * MiB }),
    guest('set', { actual: 167 * MiB, used: 60 * MiB, overrides: { min: 200 * MiB } }),
  ]);
  world.sample();
  t.same(
    world.model.guests.map(({ floor }) => floor),
    [167 * MiB, 200 * MiB],
  );
});

/** A guest of 1 GiB that says that it has nothing to spare, while its process has touched `touched`; beside one that is honest. */
function claiming(touched: number): { world: World; moves: Move[] } {
  const world = new World([guest('claims', { actual: GiB, touched }), guest('honest', { actual: 700 * MiB, used: 400 * MiB })], {
    pool: GiB + 700 * MiB,
  });
  const moves: Move[] = [];
  for (let round = 0; round < 20; round++) {
    const sample = world.see();
    sample.sweep.figures[0 * STRIDE + USABLE] = 0;
    const made = plan(world.model, sample, world.config);
    world.model = made.model;
    world.obey(made.moves);
    moves.push(...made.moves);
  }
  return { world, moves };
}

t.test('a claim that the resident memory contradicts is no need, and squeezes nobody', async (t) => {
  const { world, moves } = claiming(300 * MiB);
  const reasons = (name: string) => [...new Set(moves.filter((move) => move.name === name).map(({ reason }) => reason))];
  t.same(reasons('claims'), [], 'what it has not touched it needs no more of');
  t.same(reasons('honest'), ['give']);
  t.ok(world.find('honest').actual >= (world.model.guests[1]?.want ?? Number.NaN));
});

t.test('one that its resident memory bears out is a need', async (t) => {
  const { moves } = claiming(GiB);
  t.ok(moves.some(({ name, reason }) => name === 'claims' && reason === 'relief'));
  t.ok(moves.some(({ name, taker }) => name === 'honest' && taker === 'claims'));
});

t.test('a growth that comes late is not taken back', async (t) => {
  const world = new World([guest('a', { used: 490 * MiB })]);
  world.run(2);
  const [grown] = world.run(1, { arrive: false });
  t.ok(grown !== undefined && grown.to >= 590 * MiB);
  for (let ms = 0; ms < PROGRESS_WINDOW + 1000; ms += 500) world.run(1, { arrive: false, ms: 500 });
  world.find('a').actual = grown?.to ?? 0;
  world.find('a').used = 500 * MiB;
  t.same(shrinks(world.run(4)), []);
});
