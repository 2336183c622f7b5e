/** A scenario file: a host, its guests, what they do and what befalls them. docs/simulator.md explains it with examples. */
import { z } from 'zod';
import { type Config, defaultConfig, GUEST_KEYS, HOST_KEYS, settingsSchema, withSettings } from '../config.js';
import { GUEST_SETTINGS, HOST_SETTINGS, written } from '../settings.js';
import { GiB, parseSize } from '../units.js';
import { ConfigError, readText, readYaml } from '../yaml.js';
import { BOOT_MS, FIGURES, type GuestSpec } from './guest.js';
import { timeToRest } from './invariants.js';
import { noise, settledAt, through, type Waypoint } from './workload.js';

/** What may befall a guest; those that last do so `for` some time. */
export const GUEST_EVENTS = ['pause', 'hang', 'freeze', 'stick', 'reboot', 'kill', 'migrate', 'vfio', 'unload', 'set'] as const;
/** What may befall the host. */
export const HOST_EVENTS = ['daemon-hang', 'daemon-down', 'eat', 'pressure', 'clock', 'rival'] as const;
/** Those that end. */
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
]);

/** How long a scenario without end is run, ms. */
const WITHOUT_END_MS = 120_000;

const amount = written(parseSize);
const seconds = z.number('must be a number of seconds').min(0).max(86_400);
const waypoint = z.strictObject({ at: seconds, size: amount, rate: HOST_SETTINGS.burst.optional() });
const waypoints = z.array(waypoint, 'must be a list of { at, size, rate }').max(1000);

const guest = z.strictObject({
  name: z.string('must be a text').min(1),
  count: z.int('must be a whole number').min(1).max(1000).optional(),
  max: GUEST_SETTINGS.max,
  size: GUEST_SETTINGS.max.optional(),
  uses: amount.optional(),
  eats: waypoints.optional(),
  tmpfs: waypoints.optional(),
  cache: waypoints.optional(),
  repeat: seconds.min(1).optional(),
  noise: amount.optional(),
  hot: amount.optional(),
  swap: amount.optional(),
  speed: HOST_SETTINGS.burst.optional(),
  limit: amount.optional(),
  figures: z.enum(FIGURES, `must be one of: ${FIGURES.join(', ')}`).optional(),
  driver: GUEST_SETTINGS.manage.optional(),
  autodeflate: GUEST_SETTINGS.manage.optional(),
  starts: seconds.optional(),
  stops: seconds.optional(),
});

const DO = [...GUEST_EVENTS, ...HOST_EVENTS] as const;
const event = z.strictObject({
  at: seconds,
  do: z.enum(DO, `must be one of: ${DO.join(', ')}`),
  guest: z.string('must be the name of a guest').optional(),
  for: seconds.optional(),
  /** Of `set` and `eat`. */
  size: amount.optional(),
  /** Of `clock`: seconds that the wall clock is set by. */
  by: z.number('must be a number of seconds').optional(),
});

const host = z.strictObject({ memory: GUEST_SETTINGS.max, used: amount.optional() });

const schema = z.strictObject(
  {
    seed: z.int('must be a whole number').optional(),
    duration: seconds.optional(),
    host: host.optional(),
    config: settingsSchema.optional(),
    guests: z.array(guest, 'must be a list of guests').min(1, 'must name a guest'),
    events: z.array(event, 'must be a list of events').max(10_000).optional(),
  },
  'must be a mapping',
);

/** Where a key that is not known was found: what is known there. */
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

/** A guest of a scenario, and when it is there, ms. */
export interface Cast {
  readonly spec: GuestSpec;
  readonly starts: number;
  readonly stops: number;
}

export interface Scenario {
  readonly seed: number;
  /** Ms; by default until the targets must have come to rest. */
  readonly duration: number;
  /** When the targets must have come to rest, ms; Infinity where something goes on for ever. */
  readonly restAt: number;
  /** KiB. */
  readonly memory: number;
  readonly used: number;
  readonly config: Config;
  readonly guests: readonly Cast[];
  /** In the order of time; their times in seconds, as written. */
  readonly events: readonly Event[];
}

/**
 * Reads a scenario file.
 *
 * @throws ConfigError (`ERR_MEMCOORD_CONFIG`) with one line for each thing that is wrong.
 */
export async function loadScenario(path: string, seed?: number): Promise<Scenario> {
  return parseScenario(await readText(path), path, seed);
}

/** {@link loadScenario} on a text; `file` is the name in messages. */
export function parseScenario(text: string, file: string, seed?: number): Scenario {
  const read = readYaml(text, file, schema, keysAt);
  const chance = seed ?? read.seed ?? 1;
  const guests = read.guests.flatMap((entry, i) => castOf(entry, chance + i * 1000));
  const events = [...(read.events ?? [])].sort((a, b) => a.at - b.at);
  const problem = flawIn(guests, events);
  if (problem !== null) throw new ConfigError(`${file}: ${problem}`);
  const calm = Math.max(...read.guests.map(calmAt), ...events.map(({ at, for: lasts = 0 }) => 1000 * (at + lasts) + BOOT_MS));
  const config = withSettings(defaultConfig(), read.config ?? {});
  const restAt =
    calm +
    timeToRest(
      guests.map(({ spec }) => spec),
      config.intervalMs,
    );
  return {
    seed: chance,
    duration: read.duration === undefined ? (Number.isFinite(restAt) ? restAt : WITHOUT_END_MS) : 1000 * read.duration,
    restAt,
    memory: read.host?.memory ?? 64 * GiB,
    used: read.host?.used ?? 0,
    config,
    guests,
    events,
  };
}

/** What is wrong with a scenario as a whole. */
function flawIn(guests: readonly Cast[], events: readonly Event[]): string | null {
  const names = new Set<string>();
  for (const { spec } of guests) {
    if (names.has(spec.name)) return `guests: two are named ${spec.name}`;
    names.add(spec.name);
    if ((spec.current ?? 0) > spec.maximum) return `guests: ${spec.name}: size must not be more than max`;
  }
  for (const { do: what, guest, for: time, size, by } of events) {
    const onGuest = (GUEST_EVENTS as readonly string[]).includes(what);
    if (onGuest && (guest === undefined || !names.has(guest))) return `events: ${what}: guest must be one of the guests`;
    if (!onGuest && guest !== undefined) return `events: ${what}: befalls the host, not a guest`;
    if (LASTING.has(what) !== (time !== undefined))
      return `events: ${what}: ${time === undefined ? 'takes for: how many seconds' : 'lasts for no time: leave for out'}`;
    if ((what === 'set' || what === 'eat') !== (size !== undefined))
      return `events: ${what}: ${size === undefined ? 'takes a size' : 'takes no size'}`;
    if ((what === 'clock') !== (by !== undefined))
      return `events: ${what}: ${by === undefined ? 'takes by: seconds that the clock is set by' : 'takes no by'}`;
  }
  return null;
}

function castOf(entry: GuestEntry, seed: number): Cast[] {
  const names = entry.count === undefined ? [entry.name] : Array.from({ length: entry.count }, (_, i) => `${entry.name}${i + 1}`);
  const { starts = 0, stops } = entry;
  return names.map((name, i) => ({
    spec: specOf(entry, name, seed + i),
    starts: 1000 * starts,
    stops: stops === undefined ? Number.POSITIVE_INFINITY : 1000 * stops,
  }));
}

/** When nothing happens to a guest any more, and its programs have come to their last size, ms; Infinity where they go on for ever. */
function calmAt({ eats = [], tmpfs = [], cache = [], repeat, starts = 0, stops = 0 }: GuestEntry): number {
  const ways = [eats, tmpfs, cache].filter((way) => way.length > 0);
  if (ways.length > 0 && repeat !== undefined) return Number.POSITIVE_INFINITY;
  return Math.max(1000 * stops, starts > 0 ? 1000 * starts + BOOT_MS : 0, ...ways.map((way) => settledAt(pathOf(way))));
}

function specOf(entry: GuestEntry, name: string, seed: number): GuestSpec {
  const { max, size, uses = 0, eats = [], tmpfs, cache, hot, swap, speed, limit, figures, driver, autodeflate } = entry;
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
      swap,
      speed,
      limit,
      figures,
      driver,
      autodeflate,
      tmpfs: tmpfs && through(pathOf(tmpfs), repeat),
      cache: cache && through(pathOf(cache), repeat),
    }),
  };
}

function pathOf(entries: z.infer<typeof waypoints>): Waypoint[] {
  return entries.map(({ at, size, rate = Number.POSITIVE_INFINITY }) => ({ at: 1000 * at, size, rate })).sort((a, b) => a.at - b.at);
}

/** What was written, and not the rest. */
function given<T extends object>(settings: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}
