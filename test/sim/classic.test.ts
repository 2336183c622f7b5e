import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import { Coordinator, type MoveOutcome } from '../../lib/coordinator/coordinator.js';
import { SimHost } from '../../lib/sim/host.js';

const IDLE = 150 * MiB;
const RATE = 18 * MiB;
const names = [1, 2, 3, 4].map((n) => `aos_vm${n}`);

interface Classic {
  /** Most that a guest eats, and when it frees it, ms. */
  eats: (name: string) => { most: number; freeAt: number };
  pool: number;
  seconds: number;
}

/** Guests of 512 of 2048 MiB that start to eat after 20 s. */
async function run({ eats, pool, seconds }: Classic) {
  const host = new SimHost({
    total: 23 * GiB,
    guests: names.map((name) => {
      const { most, freeAt } = eats(name);
      const eaten = (at: number) => (at >= freeAt ? 0 : Math.min(most, Math.max(0, (at / 1000 - 20) * RATE)));
      return { name, maximum: 2 * GiB, current: 512 * MiB, uses: (at) => IDLE + eaten(at) };
    }),
  });
  const coordinator = new Coordinator({ connect: host.connect, config: { ...defaultConfig(), pool: pool }, time: host.time });
  const moves: (MoveOutcome & { at: number })[] = [];
  coordinator.on('move', (move) => moves.push({ ...move, at: host.now }));
  const series: { at: number; actual: Record<string, number>; spare: Record<string, number> }[] = [];
  let mostTogether = 0;
  host.onStep = () => {
    mostTogether = Math.max(
      mostTogether,
      host.guests.reduce((sum, guest) => sum + Math.max(guest.actual, guest.target), 0),
    );
  };
  await coordinator.start();
  for (let second = 0; second < seconds; second++) {
    await host.pass(1000);
    series.push({
      at: host.now,
      actual: Object.fromEntries(host.guests.map((guest) => [guest.spec.name, guest.actual / MiB])),
      spare: Object.fromEntries(host.guests.map((guest) => [guest.spec.name, (guest.actual - guest.used) / MiB])),
    });
  }
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  if (process.env.SHOW)
    for (const row of series)
      console.error(row.at / 1000, names.map((name) => `${row.actual[name]?.toFixed(0)}/${row.spare[name]?.toFixed(0)}`).join('  '));
  if (process.env.SHOW)
    for (const move of moves)
      console.error(
        move.at / 1000,
        move.name,
        (move.from / MiB).toFixed(0),
        (move.to / MiB).toFixed(0),
        move.reason,
        (move.spare / MiB).toFixed(0),
      );
  return { host, series, moves, mostTogether, at: (second: number) => series[second - 1] ?? t.bailout('no such second') };
}

const at = <T>(record: Record<string, T>, name: string): T => record[name] as T;

for (const pool of [8, 6, 3]) {
  t.test(`test 1 with a pool of ${pool} GiB: the eater gets its maximum, the others give, and it gives all back`, async (t) => {
    const {
      host,
      at: second,
      mostTogether,
    } = await run({
      pool: pool * GiB,
      seconds: 200,
      eats: (name) => (name === 'aos_vm1' ? { most: 2048 * MiB - IDLE - 2 * MiB, freeAt: 130_000 } : { most: 0, freeAt: 0 }),
    });
    t.ok(at(second(129)?.actual ?? {}, 'aos_vm1') >= 2047);
    for (const other of names.slice(1)) t.ok(at(second(129)?.actual ?? {}, other) < 512, `${other} gave some out`);
    t.ok(at(second(189)?.actual ?? {}, 'aos_vm1') < 700);
    t.ok(
      host.guests.every((guest) => guest.kills === 0),
      'nobody was killed',
    );
    t.ok(mostTogether <= pool * GiB, 'max(target, actual) never added up to more than the pool');
  });
}

for (const pool of [6, 3]) {
  t.test(`test 2 with a pool of ${pool} GiB: all rise together, and give all back`, async (t) => {
    const each = (pool * 1024) / 4;
    const {
      at: second,
      mostTogether,
      host,
    } = await run({
      pool: pool * GiB,
      seconds: 200,
      eats: () => ({ most: each * MiB - IDLE - 10 * MiB, freeAt: 130_000 }),
    });
    const sizes = names.map((name) => at(second(129)?.actual ?? {}, name));
    t.ok(Math.min(...sizes) > each - 20, `sizes ${sizes}`);
    t.ok(Math.max(...sizes) / Math.min(...sizes) < 1.05);
    t.ok(names.every((name) => at(second(189)?.actual ?? {}, name) < 700));
    t.ok(mostTogether <= pool * GiB);
    t.ok(
      host.guests.every((guest) => guest.kills === 0),
      'nobody was killed',
    );
  });
}

t.test('test 3 with a pool of 3 GiB: memory moves from those that free to those that go on', async (t) => {
  const {
    at: second,
    mostTogether,
    host,
  } = await run({
    pool: 3 * GiB,
    seconds: 110,
    eats: (name) => (name <= 'aos_vm2' ? { most: 400 * MiB, freeAt: 60_000 } : { most: 1000 * MiB, freeAt: 1e9 }),
  });
  for (const name of names.slice(0, 2))
    t.ok(at(second(100)?.actual ?? {}, name) < at(second(59)?.actual ?? {}, name) - 200, `${name} falls`);
  for (const name of names.slice(2)) t.ok(at(second(100)?.actual ?? {}, name) > at(second(59)?.actual ?? {}, name) + 300, `${name} rises`);
  t.ok(mostTogether <= 3 * GiB);
  t.ok(
    host.guests.every((guest) => guest.kills === 0),
    'nobody was killed',
  );
});
