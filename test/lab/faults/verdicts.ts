/** What is asked of a fault's outcome: pure functions of what virsh, the guests' agents and the coordinator's log said. Sizes KiB, times s. */
import type { Verdict } from '../judge.js';
import type { Reading } from './watch.js';

const MiB = 1024;
/** memcoord samples at most ten times a second: in a reading that took no longer, no memory went from one guest to another. */
const AT_ONCE_S = 0.1;

/** What an agent says (`report`), by guest. */
export type Reports = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A line of the coordinator's log that tells of something that changed. */
export interface Told {
  readonly t: number;
  readonly kind: string;
  readonly guest: string;
  readonly message: string;
}

export const mib = (kib: number): string => `${Math.round(kib / MiB)} MiB`;
export const seconds = (s: number): string => `${s.toFixed(1)} s`;

/** What an eater held at a time, and what its guest could still use (MemAvailable), by its own word. */
export interface Meal {
  readonly t: number;
  readonly eaten: number;
  readonly usable: number;
}

/** While the pool has room memcoord keeps 100 MiB usable in a guest, and in a few guests some more: one that has less than this waits. */
const WAITS = 100 * MiB;
/** One that has not eaten so much proves nothing. */
const MEAL = 32 * MiB;

/** Longest time for which a guest had to wait for memory, s. */
export function longestWait(meals: readonly Meal[]): number {
  let longest = 0;
  let since: number | null = null;
  for (const { t, usable } of meals) {
    if (since !== null) longest = Math.max(longest, t - since);
    since = usable < WAITS ? (since ?? t) : null;
  }
  return longest;
}

/** Guests that eat from `from` to `to` never wait for longer than `limit`. */
export function keepsGrowing(meals: ReadonlyMap<string, readonly Meal[]>, from: number, to: number, limit: number): Verdict {
  const found = [...meals].map(([guest, all]) => {
    const during = all.filter(({ t }) => t >= from && t <= to);
    const eaten = (during.at(-1)?.eaten ?? 0) - (during[0]?.eaten ?? 0);
    return { guest, eaten, wait: longestWait(during), least: Math.min(...during.map(({ usable }) => usable)) };
  });
  return {
    name: `guests that eat have less than ${mib(WAITS)} usable for no longer than ${limit} s`,
    ok: found.length > 0 && found.every(({ eaten, wait }) => eaten >= MEAL && wait <= limit),
    detail: found
      .map(
        ({ guest, eaten, wait, least }) =>
          `${guest} ate ${mib(eaten)} within ${seconds(to - from)}, had ${mib(least)} at least, too little for ${seconds(wait)}`,
      )
      .join('; '),
  };
}

/** memcoord reads guests again and again from `from` to `to`, with no gap longer than `limit`. `times` as `readTimes` has them. */
export function keepsReading(
  times: ReadonlyMap<string, readonly number[]>,
  guests: readonly string[],
  from: number,
  to: number,
  limit: number,
): Verdict {
  const gaps = guests.map((guest) => {
    const during = (times.get(guest) ?? []).filter((t) => t >= from && t <= to);
    return Math.max(...[...during, to].map((t, index) => t - (during[index - 1] ?? from)));
  });
  return {
    name: `no gap between two readings of the others is longer than ${limit} s`,
    ok: gaps.length > 0 && gaps.every((gap) => gap <= limit),
    detail: guests.map((guest, index) => `${guest} ${(gaps[index] ?? Number.NaN).toFixed(2)} s`).join(', '),
  };
}

/**
 * The sum of all balloons stays within the pool. A guest that memcoord does not control, or not all the time, counts with what it holds
 * (docs/ballooning.md, rule 3): its balloon may be its maximum while it boots, and that is neither used nor memcoord's to change.
 */
export function staysInPool(
  readings: readonly Reading[],
  pool: number,
  { from = 0, to = Number.POSITIVE_INFINITY, uncontrolled = [] as readonly string[], what = 'the pool' } = {},
): Verdict {
  const sums = readings
    .filter(({ t, took }) => t >= from && t <= to && took <= AT_ONCE_S)
    .map(({ actual, rss }) =>
      Object.entries(actual).reduce(
        (sum, [guest, size]) => sum + (uncontrolled.includes(guest) ? Math.min(size, rss[guest] ?? size) : size),
        0,
      ),
    );
  const most = Math.max(...sums);
  const also = uncontrolled.length > 0 ? `, and RSS of ${uncontrolled.join(' and ')},` : '';
  return {
    name: `the sum of actual${also} stays within ${what}`,
    ok: sums.length > 0 && most <= pool,
    detail: sums.length === 0 ? 'no reading' : `most ${mib(most)} of ${mib(pool)} in ${sums.length} readings`,
  };
}

/** What came of an eater. KiB. */
export interface Eaten {
  readonly guest: string;
  readonly wanted: number;
  /** The most that it held. */
  readonly held: number;
  readonly killed: boolean;
}

/** All eaters hold what they were told to eat. */
export function allEat(eaters: readonly Eaten[]): Verdict {
  const killed = eaters.filter((eater) => eater.killed).length;
  return {
    name: 'every eater gets all that it wants',
    ok: eaters.length > 0 && eaters.every((eater) => !eater.killed && eater.held >= eater.wanted),
    detail: `${killed} of ${eaters.length} killed: ${eaters
      .map((eater) => `${eater.guest} ${eater.killed ? 'killed at ' : ''}${mib(eater.held)} of ${mib(eater.wanted)}`)
      .join(', ')}`,
  };
}

/** Guests that are not controlled are not moved: no order in the log, and no other balloon size in any reading. */
export function notMoved(readings: readonly Reading[], moves: readonly { readonly guest: string }[], guests: readonly string[]): Verdict {
  const found = guests.flatMap((guest) => {
    const sizes = readings.flatMap(({ actual }) => actual[guest] ?? []);
    const orders = moves.filter((move) => move.guest === guest).length;
    const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
    if (sizes.length === 0) return [`${guest} was never read`];
    return orders > 0 || least !== most ? [`${guest} has ${orders} moves, from ${mib(least)} to ${mib(most)}`] : [];
  });
  return {
    name: `${guests.join(' and ')} are left alone`,
    ok: guests.length > 0 && found.length === 0,
    detail: found.length === 0 ? `in ${readings.length} readings` : found.join('; '),
  };
}

/** The host as memcoord has recorded it, and the moves that it then made. */
export interface RoomSample {
  /** Seconds on the scene's clock. */
  readonly t: number;
  /** {@link HostMemory.cgroupRoom}, KiB. */
  readonly host: { readonly cgroupRoom: number | null };
  readonly moves: readonly { readonly to: number; readonly actual: number | null }[];
}

/** What a memory cgroup had room for at a time, by its own files, KiB. */
export interface Room {
  readonly t: number;
  readonly room: number;
}

/** Figures of a cgroup and of memcoord's sample are taken one after the other, while guests eat: they may differ by what is eaten meanwhile. */
const READ_APART_S = 1;
const READ_APART = 64 * MiB;

/** memcoord's `host.cgroupRoom` is what the cgroup's own files say. */
export function roomIsRead(samples: readonly RoomSample[], rooms: readonly Room[]): Verdict {
  const compared = samples.flatMap(({ t, host }) => {
    const near = rooms.filter((room) => Math.abs(room.t - t) <= READ_APART_S).map(({ room }) => room);
    if (near.length === 0) return [];
    const room = host.cgroupRoom ?? Number.NaN;
    return [Math.max(Math.min(...near) - room, room - Math.max(...near), 0)];
  });
  const most = Math.max(...compared);
  return {
    name: 'memcoord knows the room in the cgroup',
    // One that was not read is NaN.
    ok: compared.length > 0 && most <= READ_APART,
    detail: Number.isNaN(most) ? 'cgroupRoom is not read' : `${compared.length} samples, at most ${mib(most)} apart`,
  };
}

/** In no cycle do guests grow by more than the cgroup has room for. */
export function growsWithinRoom(samples: readonly RoomSample[]): Verdict {
  const found = samples.map(({ host, moves }) => {
    const growth = moves.reduce((sum, { to, actual }) => sum + Math.max(0, to - (actual ?? to)), 0);
    return { growth, left: (host.cgroupRoom ?? Number.NaN) - growth };
  });
  const least = Math.min(...found.map(({ left }) => left));
  const growth = Math.max(...found.map((sample) => sample.growth));
  return {
    name: 'growth stays within the room in the cgroup',
    ok: growth > 0 && least >= 0,
    detail: Number.isNaN(least) ? 'cgroupRoom is not read' : `at most ${mib(growth)} in a cycle, and at least ${mib(least)} left`,
  };
}

/** Nothing was killed in the guests. Those in `gone` were ended by the test itself. */
export function nobodyHurt(before: Reports, after: Reports, gone: ReadonlySet<string>): Verdict {
  const found: string[] = [];
  let asked = 0;
  for (const [guest, then] of Object.entries(before)) {
    if (gone.has(guest)) continue;
    const now = after[guest];
    if (now === undefined) {
      found.push(`${guest} does not answer`);
      continue;
    }
    asked++;
    // Its counters begin anew with a boot.
    const booted = figureOf(now, 'uptime') < figureOf(then, 'uptime');
    for (const counter of ['oom_kills', 'eaters_killed'] as const) {
      const more = figureOf(now, counter) - (booted ? 0 : figureOf(then, counter));
      if (more !== 0) found.push(`${guest}: ${counter} ${more}`);
    }
    if (now.bystander !== 1) found.push(`${guest} lost its bystander`);
  }
  return {
    name: 'nothing is killed in any guest',
    ok: found.length === 0 && asked > 0,
    detail: found.length === 0 ? `${asked} guests asked` : found.join(', '),
  };
}

const figureOf = (report: Readonly<Record<string, number>>, name: string): number => report[name] ?? Number.NaN;

/** Told exactly so many times. */
export function said(told: readonly Told[], kind: string, times: number, guest?: string): Verdict {
  const lines = told.filter((line) => line.kind === kind && (guest === undefined || line.guest === guest));
  return {
    name: `the log says '${kind}'${guest === undefined ? '' : ` of ${guest}`} ${['never', 'once', 'twice'][times] ?? `${times} times`}`,
    ok: lines.length === times,
    detail: lines.length === 0 ? 'not at all' : lines.map(({ t, message }) => `${seconds(t)}: ${message}`).join('; '),
  };
}

/** The stats periods are what they were, seconds. */
export function periodsBack(expected: Readonly<Record<string, number>>, found: Readonly<Record<string, number>>): Verdict {
  const wrong = Object.entries(found).filter(([guest, period]) => period !== (expected[guest] ?? 0));
  return {
    name: 'stats periods are put back',
    ok: wrong.length === 0 && Object.keys(found).length > 0,
    detail: Object.entries(found)
      .map(([guest, period]) => `${guest} ${period} s`)
      .join(', '),
  };
}
