/**
 * Random scenarios, as people would write them: small hosts with guests of every kind and a minute of trouble, and hosts of the size that
 * people have, on most of which one or two odd guests are among honest ones.
 */
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
      'mapped',
      'swaps',
      'late',
      'leaves',
      'windows',
      'nousable',
      'rates',
      'wrap',
      'most',
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
      hot: { hot: size, 'hot-from': at },
      mapped: { hot: size, mapped: 'yes' },
      swaps: { swap: size },
      late: { starts: at },
      leaves: { stops: at },
      windows: { figures: 'windows' },
      nousable: { figures: 'nousable' },
      rates: { figures: 'rates' },
      wrap: { figures: 'wrap' },
      most: { most: `${Math.max(Math.round(max * part), 256)}MiB` },
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

/** Small hosts, short of memory as often as not. */
export const smallText = fc
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
        'boot-rest': fc.constantFrom('0s', '5s', '20s', '20s', '120s'),
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

const GIB = 1024;
const gib = (min: number, max: number) => fc.integer({ min: min * GIB, max: max * GIB });
/** Not there in `times` cases of one. */
const seldom = <T>(times: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: times }, { arbitrary, weight: 1 });
/** A part of something, from `min` to `max` percent of it. */
const part = (min: number, max: number) => fc.integer({ min, max }).map((percent) => percent / 100);
const written = (mib: number) => `${Math.max(1, Math.round(mib))}MiB`;

const sum = (sizes: readonly string[]) => sizes.reduce((all, size) => all + Number.parseInt(size, 10), 0);

/** A Linux guest that works now and then; mostly within what it has at the start. */
const honest = fc
  .record({
    max: gib(1, 16),
    started: part(25, 100),
    used: part(10, 60),
    works: fc.array(
      fc.record({
        at: fc.integer({ min: 15, max: 90 }),
        size: fc.oneof({ arbitrary: part(5, 90), weight: 5 }, { arbitrary: part(90, 250), weight: 1 }),
        rate: fc.oneof(
          { arbitrary: rate(5, 60), weight: 2 },
          { arbitrary: rate(60, 200), weight: 2 },
          { arbitrary: rate(200, 800), weight: 1 },
        ),
      }),
      { maxLength: 3 },
    ),
    noise: fc.constantFrom(undefined, undefined, '3MiB'),
    hot: seldom(5, fc.record({ size: part(5, 80), mapped: fc.constantFrom('no', 'yes'), from: fc.constantFrom(0, 0, 60) })),
    cold: seldom(4, part(10, 100)),
    streams: seldom(12, rate(1, 60)),
    swap: seldom(5, mib(64, 2048)),
  })
  .map(({ max, started, used, works, noise, hot, cold, streams, swap }) => {
    const size = Math.max(512, max * started);
    const spare = size * (1 - used);
    return {
      max: written(max),
      size: written(size),
      uses: written(size * used),
      eats: works.map((work) => ({ ...work, size: written(Math.min(spare * work.size, 0.97 * max - size * used)) })),
      noise,
      ...(hot === undefined ? {} : { hot: written(spare * hot.size), mapped: hot.mapped, 'hot-from': hot.from }),
      ...(cold === undefined ? {} : { cache: [{ at: 0, size: written(spare * cold), rate: '200MiB/s' }] }),
      streams,
      swap,
    };
  });

/** Twenty guests at most that begin to work in the same second, as cron has them at midnight; each has room for it. */
const wave = fc
  .record({
    count: fc.integer({ min: 5, max: 20 }),
    max: gib(1, 4),
    at: fc.integer({ min: 30, max: 80 }),
    rises: part(20, 90),
    rate: rate(50, 200),
  })
  .map(({ count, max, at, rises, rate: each }) => {
    const uses = Math.max(200, max / 8);
    return {
      count,
      max: written(max),
      size: written(max * 0.6),
      uses: written(uses),
      eats: [{ at, size: written((max * 0.6 - uses) * rises), rate: each }],
    };
  });

const ODD = {
  blind: { figures: 'none' },
  driverless: { driver: 'no' },
  zero: { figures: 'zero' },
  greedy: { figures: 'greedy' },
  windows: { figures: 'windows' },
  win32: { figures: 'win32' },
  nousable: { figures: 'nousable' },
  rates: { figures: 'rates' },
  wrap: { figures: 'wrap' },
  hugetlb: { figures: 'hugetlb' },
  filebacked: { figures: 'filebacked' },
  nvdimm: { figures: 'nvdimm' },
  slow: { speed: '60MiB/s' },
} as const;

/** A guest that is not as the others are, or that is started, rebooted or left alone. */
const odd = fc
  .record({
    max: gib(2, 16),
    started: part(40, 100),
    uses: part(5, 40),
    rises: seldom(1, fc.record({ at: fc.integer({ min: 20, max: 90 }), size: part(10, 90), rate: rate(20, 200) })),
    kind: fc.oneof(
      { arbitrary: fc.constantFrom(...(Object.keys(ODD) as (keyof typeof ODD)[])), weight: 3 },
      {
        arbitrary: fc.constantFrom('starts', 'reboots', 'excluded', 'virtio-mem', 'hard-limit', 'most') as fc.Arbitrary<'starts'>,
        weight: 2,
      },
    ) as fc.Arbitrary<keyof typeof ODD | 'starts' | 'reboots' | 'excluded' | 'virtio-mem' | 'hard-limit' | 'most'>,
    at: fc.integer({ min: 10, max: 80 }),
  })
  .map(({ max, started, uses, rises, kind, at }) => {
    const size = Math.max(1024, max * started);
    const special: Readonly<Record<string, object>> = {
      ...ODD,
      starts: { starts: at },
      'virtio-mem': { 'virtio-mem': written(4 * max) },
      'hard-limit': { 'hard-limit': written(size * 1.1 + 256) },
      most: { most: written(size) },
    };
    return {
      kind,
      at,
      guest: {
        max: written(max),
        size: written(size),
        uses: written(size * uses),
        ...(rises === undefined ? {} : { eats: [{ ...rises, size: written((size - size * uses) * rises.size) }] }),
        ...special[kind],
      },
    };
  });

/** Hosts of 8 to 64 GiB. */
export const realisticText = fc
  .record({
    seed: fc.nat(1_000_000),
    guests: fc.array(honest, { minLength: 1, maxLength: 6 }),
    waves: seldom(3, wave),
    odds: fc.constantFrom(0, 1, 1, 2).chain((count) => fc.array(odd, { minLength: count, maxLength: count })),
    room: fc.oneof({ arbitrary: part(105, 200), weight: 3 }, { arbitrary: part(50, 105), weight: 2 }),
    arc: seldom(6, part(10, 60)),
    cgroup: seldom(8, part(90, 120)),
    pool: seldom(6, part(70, 130)),
    events: fc.constantFrom(0, 0, 3).chain((most) => fc.array(event, { maxLength: most })),
    interval: fc.constantFrom(undefined, undefined, undefined, '2'),
    surplus: fc.constantFrom(undefined, undefined, 'guests'),
  })
  .map(({ seed, guests, waves, odds, room, arc, cgroup, pool, events, interval, surplus }) => {
    const sizes =
      sum(guests.map(({ size }) => size)) +
      sum(waves === undefined ? [] : new Array(waves.count).fill(waves.size)) +
      // Huge pages are set aside for all that the guest may have.
      sum(odds.map(({ kind, guest: { size, max } }) => (kind === 'hugetlb' ? max : size)));
    const memory = Math.min(64 * GIB, Math.max(8 * GIB, Math.round(sizes * room + 2 * GIB)));
    const free = Math.max(0, memory - GIB - Math.round(sizes * 0.6));
    const named = [
      ...guests.map((each, i) => ({ name: `g${i}`, ...each })),
      ...(waves === undefined ? [] : [{ name: 'wave', ...waves }]),
      ...odds.map(({ guest: each }, i) => ({ name: `odd${i}`, ...each })),
    ];
    return stringify({
      seed,
      duration: 110,
      host: {
        memory: written(memory),
        used: '1GiB',
        ...(arc === undefined || free === 0 ? {} : { arc: written(free * arc), 'arc-min': written(free * arc * 0.05) }),
        ...(cgroup === undefined ? {} : { cgroup: written(sizes * cgroup) }),
      },
      config: {
        ...(interval === undefined ? {} : { interval }),
        ...(surplus === undefined ? {} : { surplus }),
        ...(pool === undefined ? {} : { pool: written(sizes * pool) }),
        guests: odds.flatMap(({ kind }, i) => (kind === 'excluded' ? [{ match: `odd${i}`, manage: 'no' }] : [])),
      },
      guests: named,
      events: [
        ...odds.flatMap(({ kind, at }, i) => (kind === 'reboots' ? [{ at, do: 'reboot', guest: `odd${i}` }] : [])),
        ...events.map(({ at, what, guest: which }) => ({ at, ...what, ...guestOf(what.do, `g${which % guests.length}`) })),
      ],
    });
  });

/** The text of a scenario file. */
export const scenarioText = fc.oneof({ arbitrary: smallText, weight: 2 }, { arbitrary: realisticText, weight: 3 });

const ON_HOST = new Set(['daemon-hang', 'daemon-down', 'pressure', 'rival', 'eat', 'clock']);

function guestOf(what: string, name: string): { guest?: string } {
  return ON_HOST.has(what) ? {} : { guest: name };
}

export function scenarioOf(text: string): Scenario {
  return parseScenario(text, 'random.yaml');
}
