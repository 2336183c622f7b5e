/** A scenario file: a host, its guests, what they do and what happens to them. docs/simulator.md explains it with examples. */
import { z } from 'zod';
import { GiB, parseSize } from '../common/units.js';
import { type Config, defaultConfig, GUEST_KEYS, HOST_KEYS, settingsSchema, withSettings } from '../config/config.js';
import { clipped, GUEST_SETTINGS, HOST_SETTINGS, SIZE, written } from '../config/settings.js';
import { readText, readYaml } from '../config/yaml.js';
import { FIGURES } from './figures.js';
import { BOOT_MS, type GuestSpec } from './guest.js';
import { timeToRest } from './invariants.js';
import { noise, settledAt, through, type Waypoint } from './workload.js';

/** Events that can happen to a guest. Those that last take `for`, their duration. */
export const GUEST_EVENTS = ['pause', 'hang', 'freeze', 'stick', 'reboot', 'kill', 'migrate', 'vfio', 'unload', 'set'] as const;
/** Events that can happen to the host. */
export const HOST_EVENTS = ['daemon-hang', 'daemon-down', 'eat', 'pressure', 'clock', 'rival', 'slow-list'] as const;
/** Events that last for some time. */
const LASTING: ReadonlySet<string> = new Set([
  'pause',
  'hang',
  'freeze',
  'stick',
  'migrate',
  'daemon-hang',
  'daemon-down',
  'eat',
  'pressure',
  'rival',
  'slow-list',
]);

/** Values of `figures` that are short forms for a special kind of memory, not for a special report. */
export const SHORT_FORMS = ['hugetlb', 'nvdimm', 'filebacked'] as const;
const REPORTS = [...FIGURES, ...SHORT_FORMS] as const;
/** Size of an NVDIMM in the short form, in multiples of the guest's maximum: databases have such NVDIMMs. */
const NVDIMM_TIMES = 16;

/** How long to run a scenario that never comes to rest, ms. */
const WITHOUT_END_MS = 120_000;
/** Longest time in a scenario, seconds: nobody waits for the end of a longer one. */
const LONGEST = 86_400;
/** Longest name of a guest in libvirt, characters. */
const LONGEST_NAME = 255;
/** Most guests in a scenario, all together. */
const MOST_GUESTS = 1000;
/** Largest step by which the wall clock is set, seconds: sums of such steps keep their precision. */
const LARGEST_STEP = 1_000_000_000;

const amount = written(parseSize);
const numberFrom = (least: number, most: number) => z.number(`must be a number of seconds from ${least} to ${most}`).min(least).max(most);
const seconds = numberFrom(0, LONGEST);
const MAPPING = 'must be a mapping';
const waypoint = z.strictObject({ at: seconds, size: amount, rate: HOST_SETTINGS.burst.optional() }, MAPPING);
const waypoints = z.array(waypoint, 'must be a list of { at, size, rate }').max(1000, 'must be 1000 at most');

const guest = z
  .strictObject(
    {
      name: z.string(`must be text of 1 to ${LONGEST_NAME} characters`).min(1).max(LONGEST_NAME),
      count: z.int(`must be a whole number from 1 to ${MOST_GUESTS}`).min(1).max(MOST_GUESTS).optional(),
      max: SIZE,
      size: SIZE.optional(),
      uses: amount.optional(),
      eats: waypoints.optional(),
      tmpfs: waypoints.optional(),
      cache: waypoints.optional(),
      repeat: numberFrom(1, LONGEST).optional(),
      noise: amount.optional(),
      hot: amount.optional(),
      'hot-from': seconds.optional(),
      mapped: GUEST_SETTINGS.manage.optional(),
      streams: HOST_SETTINGS.burst.optional(),
      swap: amount.optional(),
      speed: HOST_SETTINGS.burst.optional(),
      limit: amount.optional(),
      figures: z.enum(REPORTS, `must be one of: ${REPORTS.join(', ')}`).optional(),
      backing: z.enum(['hugetlb', 'file'], 'must be hugetlb or file').optional(),
      nvdimm: amount.optional(),
      'virtio-mem': amount.optional(),
      'hard-limit': SIZE.optional(),
      most: SIZE.optional(),
      driver: GUEST_SETTINGS.manage.optional(),
      autodeflate: GUEST_SETTINGS.manage.optional(),
      starts: seconds.optional(),
      stops: seconds.optional(),
    },
    MAPPING,
  )
  .refine(({ size = 0, max }) => size <= max, { message: 'must not be more than max', path: ['size'] });

const DO = [...GUEST_EVENTS, ...HOST_EVENTS] as const;
const event = z
  .strictObject(
    {
      at: seconds,
      do: z.enum(DO, `must be one of: ${DO.join(', ')}`),
      guest: z.string('must be the name of a guest').optional(),
      for: seconds.optional(),
      /** For `set` and `eat`. */
      size: amount.optional(),
      /** For `clock`: seconds by which the wall clock is set. */
      by: numberFrom(-LARGEST_STEP, LARGEST_STEP).optional(),
    },
    MAPPING,
  )
  .superRefine(({ do: what, guest, for: time, size, by }, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message: `${what}: ${message}` });
    if (!isOnGuest(what) && guest !== undefined) refuse('guest', 'befalls the host, not a guest');
    if (LASTING.has(what) !== (time !== undefined))
      refuse('for', time === undefined ? 'takes for: how many seconds' : 'lasts for no time: leave for out');
    if ((what === 'set' || what === 'eat') !== (size !== undefined)) refuse('size', size === undefined ? 'takes a size' : 'takes no size');
    if ((what === 'clock') !== (by !== undefined))
      refuse('by', by === undefined ? 'takes by: seconds that the clock is set by' : 'takes no by');
  });

function isOnGuest(what: string): boolean {
  return (GUEST_EVENTS as readonly string[]).includes(what);
}

const host = z
  .strictObject(
    {
      memory: SIZE,
      used: amount.optional(),
      arc: amount.optional(),
      'arc-min': amount.optional(),
      hugepages: amount.optional(),
      cgroup: amount.optional(),
    },
    MAPPING,
  )
  .refine(({ memory, used = 0 }) => used <= memory, { message: 'must not be more than memory', path: ['used'] })
  .refine(({ memory, used = 0, arc = 0, hugepages = 0 }) => used > memory || used + arc + hugepages <= memory, {
    message: 'must leave used, arc and hugepages room',
    path: ['memory'],
  })
  .refine(({ arc = 0, 'arc-min': least = 0 }) => least <= arc, { message: 'must not be more than arc', path: ['arc-min'] });

const schema = z
  .strictObject(
    {
      seed: z.int('must be a whole number').optional(),
      duration: seconds.optional(),
      host: host.optional(),
      config: settingsSchema.optional(),
      guests: z.array(guest, 'must be a list of guests').min(1, 'must name a guest'),
      events: z.array(event, 'must be a list of events').max(10_000, 'must be 10000 at most').optional(),
    },
    MAPPING,
  )
  .superRefine(({ guests, events = [] }, context) => {
    const refuse = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (guests.reduce((sum, { count = 1 }) => sum + count, 0) > MOST_GUESTS) {
      refuse(['guests'], `must be ${MOST_GUESTS} at most, all together`);
      return;
    }
    const names = new Set<string>();
    for (const [i, entry] of guests.entries())
      for (const name of namesOf(entry)) {
        if (names.has(name)) refuse(['guests', i, 'name'], `two are named ${clipped(name)}`);
        names.add(name);
      }
    for (const [i, { do: what, guest }] of events.entries())
      if (isOnGuest(what) && (guest === undefined || !names.has(guest)))
        refuse(['events', i, 'guest'], `${what}: guest must be one of the guests`);
  });

/** The keys that are allowed at the place where an unknown key was found. */
function keysAt(path: readonly PropertyKey[]): readonly string[] {
  const [first, , third] = path;
  if (first === 'guests') return Object.keys((third === undefined ? guest : waypoint).shape);
  if (first === 'events') return Object.keys(event.shape);
  if (first === 'host') return Object.keys(host.shape);
  if (first === 'config') return third === undefined && path.length === 1 ? HOST_KEYS : GUEST_KEYS;
  return Object.keys(schema.shape);
}

export type Event = z.infer<typeof event>;
type GuestEntry = z.infer<typeof guest>;

/** A guest of a scenario, and when it starts and stops, ms. */
export interface ScenarioGuest {
  readonly spec: GuestSpec;
  readonly starts: number;
  readonly stops: number;
}

/** A scenario as read. Sizes KiB, times ms. docs/simulator.md explains each key. */
export interface Scenario {
  readonly seed: number;
  /** Ms; by default until the targets must have come to rest. */
  readonly duration: number;
  /** When the targets must have come to rest, ms; Infinity if a workload goes on for ever. */
  readonly restAt: number;
  /** KiB. */
  readonly memory: number;
  readonly used: number;
  readonly arc: number;
  readonly arcMinimum: number;
  /** At least what all guests on huge pages have together. */
  readonly hugePages: number;
  /** Infinity = no limit. */
  readonly cgroup: number;
  readonly config: Config;
  readonly guests: readonly ScenarioGuest[];
  /** Sorted by time. Times are in seconds, as written. */
  readonly events: readonly Event[];
}

/**
 * Reads a scenario file.
 *
 * @throws ConfigError (`ERR_MEMCOORD_CONFIG`) with one line for each error.
 */
export async function loadScenario(path: string, seed?: number): Promise<Scenario> {
  return parseScenario(await readText(path), path, seed);
}

/** Like {@link loadScenario}, but parses `text`; `file` is the name in messages. */
export function parseScenario(text: string, file: string, seed?: number): Scenario {
  const read = readYaml(text, file, schema, keysAt);
  const chance = seed ?? read.seed ?? 1;
  const guests = read.guests.flatMap((entry, i) => scenarioGuestsOf(entry, chance + i * 1000));
  const events = [...(read.events ?? [])].sort((a, b) => a.at - b.at);
  const config = withSettings(defaultConfig(), read.config ?? {});
  const rest = BOOT_MS + Math.max(config.bootRestMs, ...config.guests.map(({ settings }) => settings.bootRestMs ?? 0));
  const idle = Math.max(
    ...read.guests.map((entry) => quietAt(entry, rest)),
    ...events.map(({ at, for: lasts = 0, do: what }) => 1000 * (at + lasts) + (what === 'reboot' ? rest : BOOT_MS)),
  );
  const restAt =
    idle +
    timeToRest(
      guests.map(({ spec }) => spec),
      config.intervalMs,
    );
  return {
    seed: chance,
    duration:
      read.duration === undefined ? (Number.isFinite(restAt) ? Math.min(restAt, 1000 * LONGEST) : WITHOUT_END_MS) : 1000 * read.duration,
    restAt,
    memory: read.host?.memory ?? 64 * GiB,
    used: read.host?.used ?? 0,
    arc: read.host?.arc ?? 0,
    arcMinimum: read.host?.['arc-min'] ?? 0,
    hugePages: Math.max(
      read.host?.hugepages ?? 0,
      guests.reduce((sum, { spec }) => sum + (spec.backing === 'hugetlb' ? spec.maximum : 0), 0),
    ),
    cgroup: read.host?.cgroup ?? Number.POSITIVE_INFINITY,
    config,
    guests,
    events,
  };
}

function namesOf({ name, count }: GuestEntry): string[] {
  return count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}${i + 1}`);
}

function scenarioGuestsOf(entry: GuestEntry, seed: number): ScenarioGuest[] {
  const { starts = 0, stops } = entry;
  return namesOf(entry).map((name, i) => ({
    spec: specOf(entry, name, seed + i),
    starts: 1000 * starts,
    stops: stops === undefined ? Number.POSITIVE_INFINITY : 1000 * stops,
  }));
}

/**
 * When nothing happens to a guest any more, ms: its rest after a boot is over, and its programs have reached their last size. Infinity if
 * they go on for ever.
 */
function quietAt(
  { eats = [], tmpfs = [], cache = [], 'hot-from': hotFrom = 0, repeat, starts = 0, stops = 0 }: GuestEntry,
  restMs: number,
): number {
  const ways = [eats, tmpfs, cache].filter((way) => way.length > 0);
  if (ways.length > 0 && repeat !== undefined) return Number.POSITIVE_INFINITY;
  return Math.max(1000 * stops, 1000 * hotFrom, starts > 0 ? 1000 * starts + restMs : 0, ...ways.map((way) => settledAt(pathOf(way))));
}

function specOf(entry: GuestEntry, name: string, seed: number): GuestSpec {
  const { max, size, uses = 0, eats = [], tmpfs, cache, hot, mapped, streams, swap, speed, limit, driver, autodeflate, most } = entry;
  const repeat = entry.repeat === undefined ? Number.POSITIVE_INFINITY : 1000 * entry.repeat;
  const restless = noise(entry.noise ?? 0, seed);
  const eaten = through(pathOf(eats), repeat);
  return {
    name,
    maximum: max,
    base: uses,
    uses: (at) => uses + restless(at) + eaten(at),
    ...given({
      current: size,
      hot,
      hotFrom: entry['hot-from'] === undefined ? undefined : 1000 * entry['hot-from'],
      mapped,
      streams,
      swap,
      speed,
      limit,
      driver,
      autodeflate,
      most,
      hardLimit: entry['hard-limit'],
      virtioMem: entry['virtio-mem'],
      ...kindOf(entry),
      tmpfs: tmpfs && through(pathOf(tmpfs), repeat),
      cache: cache && through(pathOf(cache), repeat),
    }),
  };
}

/** The kind of memory that the guest has, and what it reports. */
function kindOf({ figures, backing, nvdimm, max }: GuestEntry): Partial<Pick<GuestSpec, 'figures' | 'backing' | 'nvdimm'>> {
  const written = given({ backing, nvdimm });
  switch (figures) {
    case 'hugetlb':
      return { backing: 'hugetlb', ...written };
    case 'filebacked':
      return { backing: 'file', ...written };
    case 'nvdimm':
      return { nvdimm: NVDIMM_TIMES * max, ...written };
    default:
      return { ...written, ...given({ figures }) };
  }
}

function pathOf(entries: z.infer<typeof waypoints>): Waypoint[] {
  return entries.map(({ at, size, rate = Number.POSITIVE_INFINITY }) => ({ at: 1000 * at, size, rate })).sort((a, b) => a.at - b.at);
}

/** Only the settings that were written: leaves out those that are undefined. */
function given<T extends object>(settings: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}
