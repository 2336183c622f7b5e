/**
 * What must hold in every simulation, checked against what is true of the simulated host, whatever the coordinator believes.
 * docs/reliability.md says what each is for.
 */

import { formatSize, GiB, MiB } from '../common/units.js';
import type { Config } from '../config/config.js';
import type { MoveOutcome } from '../coordinator/coordinator.js';
import type { Snapshot } from '../coordinator/snapshot.js';
import { BRISK_RATE, BURST_LASTS, CRITICAL_SPARE, GENTLE_RATE, GROW_BAND, PACE_FRACTION, PROGRESS_WINDOW, SAME } from '../policy/limits.js';
import { isNonsense } from './figures.js';
import { BALLOON_SPEED, type GuestSpec, type Killer, type SimGuest } from './guest.js';
import { HARMS, HarmJudge } from './harm.js';
import type { SimHost, Stored } from './host.js';
import { floorOf, type SimSettings, settingsReader } from './settings.js';
import type { Unmanaged } from './unmanaged.js';

export const INVARIANTS = {
  bounds: 'no guest is grown above its ceiling or shrunk under its floor, and none is moved that is to be left alone',
  spare: 'no guest is shrunk into its critical spare, by more than half of its spare at once, or faster than the pace',
  stuck: 'a shrink that does not come is taken back',
  freshness: 'no guest is shrunk on figures that are stale, unsettled or missing',
  burst: 'no guest is killed by a growth that the burst it was shown to survive covers',
  rest: 'once nothing changes any more, the targets come to rest',
  replay: 'the recording of every move gives the same move again, for the same reason',
  ...HARMS,
} as const;
/** A rule that a simulation judges. */
export type Invariant = keyof typeof INVARIANTS;

/** A rule that did not hold. */
export interface Violation {
  readonly invariant: Invariant;
  /** Ms of the simulation. */
  readonly at: number;
  readonly guest: string | null;
  readonly message: string;
}

/** What a coordinator cannot know yet of a disturbance: it has one interval and the time of a call to see it. */
const NOTICED_MS = 1000;
/** What lies between the coordinator's reading and its order: calls of up to 70 ms, and one step of the simulation. */
const CALL_MS = 200;
/** A call that does not come back holds the coordinator for so long. */
const DEADLINE_MS = 2000;
/** Rounding of a step of the simulation, KiB. */
const GRAIN = 4;
/** Rise of others that is still taken for rest while one guest bursts, KiB/s. */
const OTHERS_RISE = 4 * MiB;
/** For so long at the end targets must not travel more than twice what a guest is grown for, to and fro together, ms. */
const REST_MS = 20_000;

/** What a guest gives in so long is compared with the pace, ms: the pace allows one second's worth at once on top. */
const PACED_MS = 2000;

/** What the coordinator may take rises for larger than they are, KiB: then it hurries with less reason. */
const NEED_SLACK = GiB;

/** What guests did is remembered for so long: a burst, and the age of the figures before it. */
const MEMORY_MS = BURST_LASTS + 6000;

interface Shown {
  readonly at: number;
  /** By guest: KiB/s, and when the figures were taken that it was computed from. */
  readonly bursts: ReadonlyMap<string, { readonly rate: number; readonly takenAt: number }>;
}

/** A coordinator's order, and how things stood. */
interface Ordered {
  readonly stored: Stored;
  readonly at: number;
  /** The target that was ordered: somebody else may have set another since. */
  readonly to: number;
  readonly actual: number;
  /** When the guest had last answered, and when it had last been given a target by the coordinator. */
  readonly figuresAt: number;
  readonly before: number;
  /** Least that it had used since the figures that the order was thought of with. */
  readonly used: number;
  /** Its target was not known: somebody else had set it since, or a call that was given up. */
  readonly foreign: boolean;
}

/** What a guest used and held at a time. */
interface Past {
  readonly at: number;
  readonly used: number;
  readonly actual: number;
  /** When it had last answered. */
  readonly answeredAt: number;
}

export class Invariants {
  readonly violations: Violation[] = [];
  /** From when on the targets must be at rest, ms; Infinity where that never comes. */
  readonly #restAt: number;
  readonly #host: SimHost;
  readonly #config: Config;
  readonly #settingsOf: (spec: GuestSpec) => SimSettings;
  readonly harm: HarmJudge;
  /** When something last happened that was not the coordinator's doing. */
  #disturbedAt = 0;
  #orders = new Map<string, Ordered>();
  /** Guests whose target was last set by somebody else: nobody reads it back. */
  #foreign = new Set<SimGuest>();
  #shown: Shown[] = [];
  #history = new Map<SimGuest, Past[]>();
  #moves: { readonly at: number; readonly name: string; readonly to: number; readonly from: number }[] = [];
  /** When the host last had less than need must be paid from: then donors are asked for more. */
  #hurriedAt = Number.NEGATIVE_INFINITY;
  /** Shrinks of late, KiB. */
  #given: { readonly guest: SimGuest; readonly at: number; readonly size: number }[] = [];
  /** Shrinks that do not come: the size that the balloon has had since. */
  #waited = new Map<SimGuest, { readonly actual: number; readonly target: number; readonly since: number }>();

  constructor(host: SimHost, config: Config, restAt: number, unmanaged: Unmanaged) {
    this.#host = host;
    this.#config = config;
    this.#restAt = restAt;
    this.#settingsOf = settingsReader(config);
    this.harm = new HarmJudge(host, config, unmanaged, (harm, guest, message) => this.#violate(harm, guest, message));
    host.onTarget = (stored) => this.#stored(stored);
    host.onKill = (guest, by) => this.#killed(guest, by);
  }

  /** Something happens that is not the coordinator's doing. */
  disturb(): void {
    this.#disturbedAt = this.#host.now;
  }

  /** What people are shown at a sample. */
  sample(snapshot: Snapshot, plannedAt: number): void {
    const { now } = this.#host;
    this.harm.sampled();
    const bursts = new Map(
      snapshot.guests.map(({ uuid, survivableBurst, statsAge }) => {
        const guest = this.#host.find(uuid);
        const seen = guest && this.#history.get(guest)?.findLast(({ at }) => at <= plannedAt - statsAge);
        return [uuid, { rate: survivableBurst, takenAt: seen?.answeredAt ?? Number.NEGATIVE_INFINITY }];
      }),
    );
    this.#shown.push({ at: now, bursts });
    while ((this.#shown[0]?.at ?? Number.POSITIVE_INFINITY) < now - BURST_LASTS) this.#shown.shift();
  }

  move({ uuid, name, from, to, reason, applied }: MoveOutcome): void {
    this.#moves.push({ at: this.#host.now, name, from, to });
    const guest = this.#host.find(uuid);
    // What one that hangs holds the coordinator has not seen since; a shrink that is taken back may aim above its ceiling.
    if (guest !== undefined && !(guest.hung && to > from)) this.#checkBounds(guest, from, to);
    const order = this.#orders.get(uuid);
    if (!applied || order === undefined || to >= from) return;
    // A growth that is taken back takes nothing.
    if (reason === 'no-progress' || to >= order.actual - SAME) return;
    this.#checkFreshness(order);
    this.#checkSpare(order);
  }

  /** At the end of a simulation. */
  finish(): void {
    // The coordinator is about to stop, and its promises end with it.
    this.#host.onKill = () => {};
    if (!this.judgesRest) return;
    // A guest that does not do what it is told is asked again and again, ever less often: the others must not be moved for it.
    const unruly = new Set(this.#host.guests.filter(isUnruly).map(({ spec }) => spec.name));
    const travelled = new Map<string, number>();
    // What such a guest gives or is asked to take at last moves others by as much.
    let given = 0;
    for (const { at, name, from, to } of this.#moves) {
      if (at <= this.#host.now - REST_MS) continue;
      if (unruly.has(name)) given += Math.abs(from - to);
      else travelled.set(name, (travelled.get(name) ?? 0) + Math.abs(to - from));
    }
    for (const [name, way] of travelled)
      if (way > 2 * GROW_BAND + Math.max(0, given))
        this.#violate('rest', null, `${name}'s target travels ${formatSize(way)} in the last ${REST_MS / 1000} s`);
  }

  /** Whether the simulation was long enough to come to rest. */
  get judgesRest(): boolean {
    return this.#host.now >= this.#restAt;
  }

  /** Whether each could have been violated. */
  get judged(): Record<Invariant, boolean> {
    const always = { bounds: true, spare: true, stuck: true, freshness: true, burst: true, replay: true };
    return { ...always, rest: this.judgesRest, ...this.harm.judged };
  }

  #violate(invariant: Invariant, guest: SimGuest | null, message: string): void {
    this.violations.push({ invariant, at: this.#host.now, guest: guest?.spec.name ?? null, message });
  }

  #stored(stored: Stored): void {
    const { guest, by } = stored;
    this.harm.stored(stored);
    if (by === 'other') {
      this.#foreign.add(guest);
      this.disturb();
      return;
    }
    const last = this.#orders.get(guest.uuid);
    const before = last?.at ?? Number.NEGATIVE_INFINITY;
    // What became of a call that was given up nobody reads back either.
    const foreign = this.#foreign.delete(guest) || last?.stored.by === 'late';
    const figuresAt = guest.figures?.at ?? Number.NEGATIVE_INFINITY;
    const used = this.#usedSince(guest, figuresAt - this.#config.intervalMs - 1000 * guest.period);
    this.#orders.set(guest.uuid, { stored, at: this.#host.now, to: guest.target, actual: guest.actual, figuresAt, before, used, foreign });
  }

  /** What it held when the order was thought of: taking a shrink back under way costs nothing. */
  #heldLately(guest: SimGuest): number {
    const past = this.#history.get(guest)?.filter(({ at }) => at >= this.#host.now - CALL_MS) ?? [];
    return Math.max(0, ...past.map(({ actual }) => actual));
  }

  /** What is set for it, and what of its spare it cannot use, KiB. */
  #settings({ spec, figures }: SimGuest): SimSettings & { readonly watermarks: number } {
    const settings = this.#settingsOf(spec);
    // MemFree holds the watermarks too.
    const watermarks = settings.signal === 'unused' && figures !== null ? Math.max(0, figures.unused - figures.usable) : 0;
    return { ...settings, watermarks };
  }

  /** What was ordered, stored or not: libvirt refuses what is above the maximum. */
  #checkBounds(guest: SimGuest, from: number, to: number): void {
    const settings = this.#settings(guest);
    const { ceiling, managed } = settings;
    const least = Math.min(floorOf(settings, guest), from);
    if (!managed) this.#violate('bounds', guest, 'is moved, and is to be left alone');
    // A shrink that is taken back leaves it what it holds.
    if (to > from && to > Math.max(ceiling, this.#heldLately(guest)))
      this.#violate('bounds', guest, `is grown to ${formatSize(to)}, its ceiling is ${formatSize(ceiling)}`);
    if (to < least - 1) this.#violate('bounds', guest, `is shrunk to ${formatSize(to)}, its floor is ${formatSize(least)}`);
  }

  #usedSince(guest: SimGuest, since: number): number {
    const past = this.#history.get(guest)?.filter(({ at }) => at >= since) ?? [];
    return Math.min(guest.used, ...past.map(({ used }) => used));
  }

  #checkSpare({ stored, at, to, used, foreign, ...rest }: Ordered): void {
    // Nobody reads a target back: what somebody else had set it to was not seen.
    if (foreign) return;
    // What it holds beyond its target is on its way already.
    const actual = Math.min(rest.actual, Math.max(stored.target, to));
    const { guest } = stored;
    this.#given = this.#given.filter((each) => each.at > at - PACED_MS + CALL_MS);
    this.#given.push({ guest, at, size: actual - to });
    const given = this.#given.reduce((sum, each) => sum + (each.guest === guest ? each.size : 0), 0);
    if (this.harm.needRoom < NEED_SLACK || this.harm.isPressing) this.#hurriedAt = at;
    // How fast its balloon is nobody knows before it has moved, nor exactly after.
    const hurried = at - this.#hurriedAt <= PACED_MS ? 1.1 * Math.max(guest.speed, BALLOON_SPEED) : 0;
    const pace = Math.max(BRISK_RATE, guest.spec.maximum * PACE_FRACTION, hurried);
    if (given > (pace * (PACED_MS + 1000)) / 1000)
      this.#violate('spare', guest, `is shrunk by ${formatSize(given)} in ${PACED_MS / 1000} s`);
    const left = to - used;
    // The half is of what counts as spare for it.
    const { watermarks } = this.#settings(guest);
    const spare = actual - used + watermarks;
    if (left < CRITICAL_SPARE - SAME) this.#violate('spare', guest, `is left ${formatSize(left)} more than it used`);
    else if (actual - to > spare / 2 + SAME)
      this.#violate('spare', guest, `is shrunk by ${formatSize(actual - to)} of ${formatSize(spare)} to spare`);
  }

  #checkFreshness({ stored, at, actual, figuresAt, before, foreign }: Ordered): void {
    const { guest, target } = stored;
    const age = at - figuresAt;
    // They were seen to change within two periods and a second; and when they were, they were no older than one.
    const most = 3 * Math.max(1000 * guest.period, this.#config.intervalMs) + 1000 + CALL_MS;
    if (!(age <= most)) this.#violate('freshness', guest, `is shrunk on figures that are ${Math.round(age)} ms old`);
    else if (figuresAt < before - this.#config.intervalMs - 1000 * guest.period)
      this.#violate('freshness', guest, 'is shrunk on figures from before the last order');
    // One that stands elsewhere for long, since it booted or can't get there, is not on its way.
    else if (Math.abs(actual - target) > 2 * MiB && !foreign && this.#movedSince(guest, at - 2 * this.#config.intervalMs))
      this.#violate('freshness', guest, `is shrunk while its balloon is at ${formatSize(actual)} and its target ${formatSize(target)}`);
  }

  #movedSince(guest: SimGuest, since: number): boolean {
    const past = this.#history.get(guest)?.filter(({ at }) => at >= since) ?? [];
    return past.some(({ actual }) => Math.abs(actual - guest.actual) > SAME);
  }

  #checkStuck(guest: SimGuest): void {
    const { now, daemon } = this.#host;
    const { actual, target, figures, frozen, hung, migrating, paused, unballooned, pinned, spec } = guest;
    const was = this.#waited.get(guest);
    const away = daemon !== 'up' || frozen || hung || migrating || paused || unballooned || pinned || figures === null || lies(spec);
    if (away || actual <= target + 4 * SAME || this.#foreign.has(guest)) {
      this.#waited.delete(guest);
      return;
    }
    if (was === undefined || was.target !== target || Math.abs(was.actual - actual) > SAME) {
      this.#waited.set(guest, { actual, target, since: now });
      return;
    }
    // Seen not to come from one reading to another, in the second of two windows at the latest.
    const most = 2 * PROGRESS_WINDOW + 3 * (this.#config.intervalMs + DEADLINE_MS) + NOTICED_MS;
    if (now - Math.max(was.since, this.#disturbedAt) <= most) return;
    this.#violate(
      'stuck',
      guest,
      `has been at ${formatSize(actual)} for ${(now - was.since) / 1000} s, and is asked for ${formatSize(target)}`,
    );
    this.#waited.set(guest, { actual, target, since: Number.POSITIVE_INFINITY });
  }

  /** To be called at every step. */
  step(): void {
    const { now, guests } = this.#host;
    this.harm.step();
    for (const guest of guests) {
      // Its balloon moves by itself; or what it was told is forgotten with the connection.
      if (now - guest.deflatedAt < 1) this.disturb();
      if (now - guest.deflatedAt < 1 || guest.unballooned || this.#host.daemon === 'down') this.#foreign.add(guest);
      this.#checkStuck(guest);
      const history = this.#history.get(guest) ?? [];
      this.#history.set(guest, history);
      history.push(past(guest, now));
      while ((history[0]?.at ?? now) < now - MEMORY_MS) history.shift();
    }
  }

  #killed(guest: SimGuest, by: Killer): void {
    const { now } = this.#host;
    this.harm.killed(guest, by);
    // The burst is about what the guest has, not about what its host has.
    if (by !== 'guest') return;
    // Memory that others are to give must be had from them; and how fast a balloon is shows only when it has moved.
    const unruly = this.#host.guests.some((each) => isUnruly(each) || each.spec.speed !== undefined || this.#foreign.has(each));
    if (unruly || now - this.#disturbedAt < BURST_LASTS + this.#config.intervalMs) return;
    const history = this.#history.get(guest) ?? [];
    for (const { at, bursts } of this.#shown) {
      const { rate = Number.NaN, takenAt = Number.NEGATIVE_INFINITY } = bursts.get(guest.uuid) ?? {};
      if (!(rate > 0) || now - at < CALL_MS || (history[0]?.at ?? now) > takenAt) continue;
      const since = [...history.filter((each) => each.at >= takenAt), past(guest, now)];
      const start = since[0]?.used ?? 0;
      // It counts from when it was shown; a growth that had begun before, which nobody could know, from the figures on.
      const begun = (since.find((each) => each.at >= at)?.used ?? 0) - start > SAME;
      if (now - (begun ? takenAt : at) > BURST_LASTS) continue;
      if (!isSteady(since, rate) || this.#othersRise(guest, at)) continue;
      const grown = formatSize(guest.used - start);
      this.#violate(
        'burst',
        guest,
        `is killed after it grew by ${grown} in ${Math.round(now - at)} ms; a burst of ${formatSize(rate)}/s was shown to be survived`,
      );
      return;
    }
  }

  /** The burst that is shown is for one guest: what others take at the same time is not in it. */
  #othersRise(guest: SimGuest, since: number): boolean {
    let rise = 0;
    for (const [other, history] of this.#history) {
      if (other === guest) continue;
      const past = history.filter(({ at }) => at >= since);
      past.forEach(({ used }, i) => {
        rise += Math.max(0, used - (past[i - 1]?.used ?? used));
      });
    }
    return rise > (OTHERS_RISE * (this.#host.now - since)) / 1000;
  }
}

/** A growth at one rate from its beginning, and none above `most`, KiB/s. */
function isSteady(since: readonly Past[], most: number): boolean {
  const first = since[0]?.used ?? 0;
  const start = since.findIndex(({ used }) => used > first + GRAIN) - 1;
  const [from, to] = [since[Math.max(0, start)], since.at(-1)];
  if (start < 0 || from === undefined || to === undefined) return false;
  const rate = ((to.used - from.used) / (to.at - from.at)) * 1000;
  const steps = since
    .slice(start + 1)
    .map((each, i) => ({ ms: each.at - (since[start + i]?.at ?? 0), rise: each.used - (since[start + i]?.used ?? 0) }));
  return rate <= most && steps.every(({ ms, rise }) => rise <= (1.25 * rate * ms) / 1000 + GRAIN);
}

function past({ used, actual, figures }: SimGuest, at: number): Past {
  return { at, used, actual, answeredAt: figures?.at ?? Number.NEGATIVE_INFINITY };
}

/** Figures that are nonsense, or less than the truth. */
function lies({ figures }: GuestSpec): boolean {
  return isNonsense(figures) || figures === 'win32';
}

/** A guest that does not do what it is told, or does not say what is true: it gets no promises. */
function isUnruly({ spec, frozen, stuck, hung, migrating, unballooned, pinned }: SimGuest): boolean {
  return (
    lies(spec) ||
    migrating ||
    frozen ||
    stuck ||
    hung ||
    unballooned ||
    pinned ||
    spec.limit !== undefined ||
    spec.most !== undefined ||
    spec.hot !== undefined ||
    spec.autodeflate === true
  );
}

/**
 * Time from the last change until the targets have been at rest for long enough to be sure, ms: the largest guest gives all that it has, one
 * step of the gentle pace in two intervals (a shrink is seen to have come before the next), or as fast as its balloon goes; and the pauses
 * that the policy makes after growth, adopted sizes and failures.
 */
export function timeToRest(guests: readonly GuestSpec[], intervalMs: number): number {
  const longest = Math.max(
    0,
    ...guests.map(
      ({ maximum, speed = Number.POSITIVE_INFINITY }) =>
        (2 * Math.max(1000, intervalMs) * maximum) / GENTLE_RATE + (1000 * maximum) / speed,
    ),
  );
  return 30_000 + 10 * intervalMs + longest + REST_MS;
}
