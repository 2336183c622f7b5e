/** Page cache is taken by probing (lib/policy/cache.ts): who works in it keeps it, who does not gives it. */
import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import { Coordinator, type CoordinatorOptions } from '../../lib/coordinator/coordinator.js';
import { parseScenario } from '../../lib/sim/scenario.js';
import { type SimulationOptions, simulate } from '../../lib/sim/simulate.js';
import { READS, STRIDE } from '../../lib/sweep.js';

/** What becomes of these guests on a host with room for all, in MiB. */
async function outcome(
  guests: string,
  { seconds = 300, config = '{}', ...options }: SimulationOptions & { seconds?: number; config?: string } = {},
) {
  const text = `
    host: { memory: 24GiB, used: 1GiB }
    duration: ${seconds}
    config: ${config}
    guests: ${guests}`;
  /** When each was first sent under a size, s. */
  const under = (name: string, size: number) => moves.find((move) => move.name === name && move.to < size * MiB)?.at ?? Number.NaN;
  const moves: { at: number; name: string; to: number; reason: string }[] = [];
  const result = await simulate(parseScenario(text, 'cache.yaml'), {
    ...options,
    onMove: (at, { name, to, reason }) => moves.push({ at: at / 1000, name, to, reason }),
  });
  const seen = result.guests.map(({ actual, diskReads, unmanaged, majorFaults, kills }) => ({
    size: Math.round(actual / MiB),
    read: Math.round((diskReads - unmanaged.diskReads) / MiB),
    faults: majorFaults,
    kills,
  }));
  return { guests: seen, violations: result.violations, moves, under };
}

t.test('a guest that reads the same files again and again keeps them, and a wrong step costs little', async (t) => {
  for (const mapped of ['no', 'yes']) {
    const { guests, violations } = await outcome(`[{ name: reader, max: 2GiB, uses: 250MiB, hot: 1000MiB, mapped: ${mapped} }]`);
    const [reader] = guests;
    t.same(violations, []);
    t.ok(reader !== undefined && reader.size >= 1250, `${reader?.size} MiB`);
    t.ok(reader !== undefined && reader.read < 200, `${reader?.read} MiB read again in five minutes`);
    t.ok(reader !== undefined && reader.faults < 2000, `${reader?.faults} major faults`);
  }
});

t.test('so does one whose files are a few hundred MiB, of a large guest, or that reads slowly', async (t) => {
  for (const each of [
    'max: 2GiB, uses: 250MiB, hot: 200MiB',
    'max: 16GiB, uses: 2GiB, hot: 8GiB',
    'max: 64GiB, uses: 2GiB, hot: 3GiB, cache: [{ at: 0, size: 40GiB }]',
    'max: 2GiB, uses: 250MiB, hot: 600MiB, streams: 5MiB/s',
  ]) {
    const { guests, violations } = await outcome(`[{ name: reader, ${each} }]`);
    t.same(violations, [], each);
    t.ok((guests[0]?.read ?? Number.NaN) < 400, `${each}: ${guests[0]?.read} MiB read again`);
  }
});

t.test('cache that nobody reads is given', async (t) => {
  const { guests, violations, under } = await outcome('[{ name: cold, max: 2GiB, uses: 250MiB, cache: [{ at: 0, size: 1000MiB }] }]');
  t.same(violations, []);
  t.ok(under('cold', 700) < 120, `under 700 MiB after ${under('cold', 700)} s`);
  t.ok((guests[0]?.size ?? Number.NaN) < 450, `${guests[0]?.size} MiB at last`);
});

t.test('so is that of a guest which streams: its reads are as they always were', async (t) => {
  const { guests, violations } = await outcome(
    '[{ name: backup, max: 2GiB, uses: 250MiB, streams: 40MiB/s, cache: [{ at: 0, size: 1000MiB }] }]',
  );
  t.same(violations, []);
  t.ok((guests[0]?.size ?? Number.NaN) < 450, `${guests[0]?.size} MiB at last`);
});

t.test('on a small pool the cold one pays', async (t) => {
  const { guests, violations } = await outcome(
    `[{ name: hot, max: 2GiB, uses: 250MiB, hot: 1000MiB }, { name: cold, max: 2GiB, uses: 250MiB, cache: [{ at: 0, size: 1000MiB }] }]`,
    { config: '{ pool: 2GiB }' },
  );
  const [hot, cold] = guests;
  t.same(violations, []);
  t.ok(hot !== undefined && hot.size >= 1250, `hot ${hot?.size} MiB`);
  t.ok(cold !== undefined && cold.size <= 800, `cold ${cold?.size} MiB`);
});

t.test('a guest that comes to work in files long after its memory was taken gets it back', async (t) => {
  const { guests, violations, moves } = await outcome('[{ name: day, max: 2GiB, uses: 250MiB, hot: 1000MiB, hot-from: 120 }]');
  t.same(violations, []);
  const back = moves.find(({ to, reason }) => reason === 'working' && to >= 1250 * MiB)?.at ?? Number.NaN;
  t.ok(back < 140, `it has room for them after ${back - 120} s`);
  t.ok((guests[0]?.read ?? Number.NaN) < 400, `${guests[0]?.read} MiB read more than unmanaged`);
});

t.test('with signal: unused cache is never touched', async (t) => {
  const { guests } = await outcome('[{ name: cold, max: 2GiB, uses: 250MiB, cache: [{ at: 0, size: 1000MiB }] }]', {
    config: '{ signal: unused }',
  });
  t.ok((guests[0]?.size ?? 0) >= 1250, `${guests[0]?.size} MiB`);
});

t.test('a hypervisor that tells no reads: cold cache is given, and mapped cache kept by its faults', async (t) => {
  class Blind extends Coordinator {
    constructor({ connect, ...options }: CoordinatorOptions) {
      super({
        ...options,
        connect: async () => {
          const real = await connect();
          return {
            ...real,
            sample: async (asked) => {
              const sweep = await real.sample(asked);
              sweep.guests.forEach(({ uuid }, row) => {
                if (asked.reads?.includes(uuid)) sweep.figures[row * STRIDE + READS] = -1;
              });
              return sweep;
            },
            isAlive: () => real.isAlive(),
          };
        },
      });
    }
  }
  const { guests } = await outcome(
    `[{ name: cold, max: 2GiB, uses: 250MiB, cache: [{ at: 0, size: 1000MiB }] }, { name: mapped, max: 2GiB, uses: 250MiB, hot: 1000MiB, mapped: yes }]`,
    { coordinator: Blind },
  );
  const [cold, mapped] = guests;
  t.ok(cold !== undefined && cold.size < 450, `cold ${cold?.size} MiB`);
  t.ok(mapped !== undefined && mapped.size >= 1200 && mapped.faults < 4000, `mapped ${mapped?.size} MiB, ${mapped?.faults} faults`);
});
