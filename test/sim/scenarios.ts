/** Random scenarios, as people would write them: hosts, guests of every kind, and a minute of trouble. */
import fc from 'fast-check';
import { stringify } from 'yaml';
import { parseScenario, type Scenario } from '../../lib/sim/scenario.js';

const mib = (min: number, max: number) => fc.integer({ min, max }).map((n) => `${n}MiB`);
const rate = (min: number, max: number) => fc.integer({ min, max }).map((n) => `${n}MiB/s`);
const second = fc.integer({ min: 0, max: 6000 }).map((n) => n / 100);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 1 });

const waypoints = (most: number) =>
  fc.array(fc.record({ at: second, size: mib(0, most), rate: fc.oneof(rate(1, 60), rate(60, 400), rate(400, 2000)) }), { maxLength: 4 });

const guest = fc
  .record({
    max: fc.integer({ min: 256, max: 2048 }),
    part: fc.double({ min: 0.25, max: 1, noNaN: true }),
    uses: fc.integer({ min: 60, max: 160 }),
    eats: waypoints(1500),
    kind: fc.constantFrom(
      'plain',
      'plain',
      'plain',
      'tmpfs',
      'cache',
      'slow',
      'limited',
      'liar',
      'deaf',
      'autodeflate',
      'hot',
      'swaps',
      'late',
      'leaves',
    ),
    way: waypoints(600),
    size: mib(100, 600),
    speed: rate(10, 100),
    figures: fc.constantFrom('none', 'zero', 'negative', 'huge', 'nan', 'greedy'),
    at: second,
    noise: fc.constantFrom('0MiB', '0MiB', '3MiB'),
  })
  .map(({ max, part, uses, eats, kind, way, size, speed, figures, at, noise }) => ({
    max: `${max}MiB`,
    size: `${Math.max(Math.round(max * part), Math.min(max, uses + 60))}MiB`,
    uses: `${uses}MiB`,
    noise,
    eats,
    ...{
      plain: {},
      tmpfs: { tmpfs: way },
      cache: { cache: way },
      slow: { speed },
      limited: { limit: size },
      liar: { figures },
      deaf: { driver: 'no' },
      autodeflate: { autodeflate: 'yes' },
      hot: { hot: size },
      swaps: { swap: size },
      late: { starts: at },
      leaves: { stops: at },
    }[kind],
  }));

/** What people set for guests: by names, by globs, and not always wisely. */
const settings = fc
  .record(
    {
      match: fc.constantFrom('g0', 'g1', 'g[12]', 'g[3-5]', 'g*'),
      min: mib(64, 1024),
      max: mib(64, 2048),
      share: fc.constantFrom(1, 100, 4000),
      signal: fc.constantFrom('usable', 'unused'),
      manage: fc.constantFrom('yes', 'yes', 'yes', 'no'),
    },
    { requiredKeys: ['match'] },
  )
  .filter(({ min = '0', max = '9999' }) => Number.parseInt(min, 10) <= Number.parseInt(max, 10));

/** Most people leave no guest out. */
const choice = fc.constantFrom({}, {}, {}, {}, { include: ['g[0-3]'] }, { exclude: ['g0'] }, { exclude: ['g[24]'] });

const lasting = fc.integer({ min: 1, max: 30 });
const guestEvent = fc.oneof(
  fc.record({ do: fc.constantFrom('pause', 'hang', 'freeze', 'stick', 'migrate'), for: lasting }),
  fc.record({ do: fc.constantFrom('reboot', 'kill', 'vfio', 'unload') }),
  fc.record({ do: fc.constant('set'), size: mib(64, 2048) }),
);
const hostEvent = fc.oneof(
  fc.record({ do: fc.constantFrom('daemon-hang', 'daemon-down', 'pressure', 'rival'), for: lasting }),
  fc.record({ do: fc.constant('eat'), size: mib(100, 4000), for: lasting }),
  fc.record({ do: fc.constant('clock'), by: fc.constantFrom(-3600, 3600) }),
);
const event = fc.record({
  at: second,
  // Most is between guests; so events that befall them are more frequent.
  what: fc.oneof({ arbitrary: guestEvent, weight: 3 }, { arbitrary: hostEvent, weight: 1 }),
  guest: fc.nat(),
});

/** The text of a scenario file. */
export const scenarioText = fc
  .record({
    seed: fc.nat(1_000_000),
    guests: fc.array(guest, { minLength: 1, maxLength: 6 }),
    events: fc.array(event, { maxLength: 5 }),
    room: fc.double({ min: 0.3, max: 1.5, noNaN: true }),
    pool: optional(fc.double({ min: 0.3, max: 1.2, noNaN: true })),
    config: fc.record(
      {
        interval: fc.constantFrom('0.5', '1', '1', '2', '5'),
        'sampling-budget': fc.constantFrom('0%', '5%', '20%'),
        surplus: fc.constantFrom('host', 'guests'),
        signal: fc.constantFrom('usable', 'unused'),
        burst: fc.constantFrom('50MiB/s', '200MiB/s', '400MiB/s'),
        reserve: mib(200, 1000),
        guests: fc.array(settings, { maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
    choice,
  })
  .map(({ seed, guests, events, room, pool, config, choice }) => {
    const maxima = guests.reduce((sum, { max }) => sum + Number.parseInt(max, 10), 0);
    const named = guests.map((each, i) => ({ name: `g${i}`, ...each }));
    return stringify({
      seed,
      host: { memory: `${Math.round(maxima * room) + 1024}MiB` },
      config: { ...config, ...choice, ...(pool === undefined ? {} : { pool: `${Math.round(maxima * pool)}MiB` }) },
      guests: named,
      events: events.map(({ at, what, guest }) => ({ at, ...what, ...guestOf(what.do, `g${guest % guests.length}`) })),
    });
  });

const ON_HOST = new Set(['daemon-hang', 'daemon-down', 'pressure', 'rival', 'eat', 'clock']);

function guestOf(what: string, name: string): { guest?: string } {
  return ON_HOST.has(what) ? {} : { guest: name };
}

export function scenarioOf(text: string): Scenario {
  return parseScenario(text, 'random.yaml');
}
