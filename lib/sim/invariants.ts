/**
 * What must hold in every simulation. It is checked against the true state of the simulated host, not against the coordinator's beliefs.
 * docs/simulator.md explains each invariant.
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
/** A rule that a simulation checks. */
export type Invariant = keyof typeof INVARIANTS;

/** A rule that did not hold. */
export interface Violation {
  readonly invariant: Invariant;
  /** Simulated time, ms. */
  readonly at: number;
  readonly guest: string | null;
  readonly message: string;
}

/** Time in which a coordinator cannot know of a disturbance yet, ms: it has one interval and the time of a call to notice it. */
const NOTICED_MS = 1000;
/** Time between the coordinator's reading and its order, ms: calls of up to 70 ms, and one step of the simulation. */
const CALL_MS = 200;
/** A call that does not return holds up the coordinator for this long, ms. */
const DEADLINE_MS = 2000;
/** Rounding of a step of the simulation, KiB. */
const GRAIN = 4;
/** While one guest bursts, the others count as idle if their use rises by no more than this in all, KiB/s. */
const OTHERS_RISE = 4 * MiB;
/** In this time at the end, no target may travel more than twice GROW_BAND, up and down together, ms. */
const REST_MS = 20_000;

/** What a guest gives within this time is compared with the pace, ms. On top of that, the pace allows one second's worth at once. */
const PACED_MS = 2000;

/** By how much the coordinator may overestimate rises, KiB. It then hurries earlier than it must. */
const NEED_SLACK = GiB;

/** The guests' history is kept for this long, ms: a burst, and the age of the figures before it. */
const MEMORY_MS = BURST_LASTS + 6000;

interface Shown {
  readonly at: number;
  /** By guest UUID: the burst, KiB/s, and when the figures that it was computed from were taken. */
  readonly bursts: ReadonlyMap<string, { readonly rate: number; readonly takenAt: number }>;
}

/** An order of the coordinator, and the state of the guest when it was stored. */
interface Ordered {
  readonly stored: Stored;
  readonly at: number;
  /** The target that was ordered. Somebody else may have set another since. */
  readonly to: number;
  readonly actual: number;
  /** When the guest had last answered, and when the coordinator had last set its target. */
  readonly figuresAt: number;
  readonly before: number;
  /** The guest's lowest use since the figures that the order was planned with. */
  readonly used: number;
  /** True: the coordinator did not know the guest's target. Somebody else, or a call that was given up, had set it since. */
  readonly foreign: boolean;
}

/** A guest's use and balloon size at a time. */
interface Past {
  readonly at: number;
  readonly used: number;
  readonly actual: number;
  /** When the guest had last answered. */
  readonly answeredAt: number;
}

export class Invariants {
  readonly violations: Violation[] = [];
  /** When the targets must have come to rest, ms; Infinity if they never do. */
  readonly #restAt: number;
  readonly #host: SimHost;
  readonly #config: Config;
  readonly #settingsOf: (spec: GuestSpec) => SimSettings;
  readonly harm: HarmJudge;
  /** When something last happened that the coordinator did not cause. */
  #disturbedAt = 0;
  #orders = new Map<string, Ordered>();
  /** Guests whose target the coordinator may not know, mostly because somebody else set it last: it does not read targets back. */
  #foreign = new Set<SimGuest>();
  #shown: Shown[] = [];
  #history = new Map<SimGuest, Past[]>();
  #moves: { readonly at: number; readonly name: string; readonly to: number; readonly from: number }[] = [];
  /** When the host last had too little room for guests in need, or was about to. Donors are then asked for more. */
  #hurriedAt = Number.NEGATIVE_INFINITY;
  /** Recent shrinks, KiB. */
  #given: { readonly guest: SimGuest; readonly at: number; readonly size: number }[] = [];
  /** Shrinks that make no progress: the balloon's size and target, and since when both have stayed the same. */
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

  /** To be called when something happens that the coordinator does not cause. */
  disturb(): void {
    this.#disturbedAt = this.#host.now;
  }

  /** To be called at each sample, with what users are shown. */
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
    // The coordinator does not see what a hung guest holds. A shrink of it that is taken back may aim above the guest's ceiling.
    if (guest !== undefined && !(guest.hung && to > from)) this.#checkBounds(guest, from, to);
    const order = this.#orders.get(uuid);
    if (!applied || order === undefined || to >= from) return;
    // Taking back a growth takes no memory from the guest.
    if (reason === 'no-progress' || to >= order.actual - SAME) return;
    this.#checkFreshness(order);
    this.#checkSpare(order);
  }

  /** To be called at the end of a simulation. */
  finish(): void {
    // The coordinator is about to stop, and its promises end with it.
    this.#host.onKill = () => {};
    if (!this.judgesRest) return;
    // A guest that does not follow its target is asked again and again, ever less often. The others must not be moved for that.
    const unruly = new Set(this.#host.guests.filter(isUnruly).map(({ spec }) => spec.name));
    const travelled = new Map<string, number>();
    // What such a guest finally gives, or is asked to take, moves the others by as much.
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

  /** For each invariant: whether it could have been violated. */
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
    // Nor does the coordinator read back what became of a call that was given up.
    const foreign = this.#foreign.delete(guest) || last?.stored.by === 'late';
    const figuresAt = guest.figures?.at ?? Number.NEGATIVE_INFINITY;
    const used = this.#usedSince(guest, figuresAt - this.#config.intervalMs - 1000 * guest.period);
    this.#orders.set(guest.uuid, { stored, at: this.#host.now, to: guest.target, actual: guest.actual, figuresAt, before, used, foreign });
  }

  /** What the guest held when the order was planned: taking back a shrink that is under way costs nothing. */
  #heldLately(guest: SimGuest): number {
    const past = this.#history.get(guest)?.filter(({ at }) => at >= this.#host.now - CALL_MS) ?? [];
    return Math.max(0, ...past.map(({ actual }) => actual));
  }

  /** The guest's settings, and the part of its spare that it cannot use, KiB. */
  #settings({ spec, figures }: SimGuest): SimSettings & { readonly watermarks: number } {
    const settings = this.#settingsOf(spec);
    // MemFree includes the watermarks.
    const watermarks = settings.signal === 'unused' && figures !== null ? Math.max(0, figures.unused - figures.usable) : 0;
    return { ...settings, watermarks };
  }

  /** Checks each order, stored or not: libvirt refuses targets above the maximum. */
  #checkBounds(guest: SimGuest, from: number, to: number): void {
    const settings = this.#settings(guest);
    const { ceiling, managed } = settings;
    const least = Math.min(floorOf(settings, guest), from);
    if (!managed) this.#violate('bounds', guest, 'is moved, and is to be left alone');
    // Taking back a shrink leaves the guest what it holds.
    if (to > from && to > Math.max(ceiling, this.#heldLately(guest)))
      this.#violate('bounds', guest, `is grown to ${formatSize(to)}, its ceiling is ${formatSize(ceiling)}`);
    if (to < least - 1) this.#violate('bounds', guest, `is shrunk to ${formatSize(to)}, its floor is ${formatSize(least)}`);
  }

  #usedSince(guest: SimGuest, since: number): number {
    const past = this.#history.get(guest)?.filter(({ at }) => at >= since) ?? [];
    return Math.min(guest.used, ...past.map(({ used }) => used));
  }

  #checkSpare({ stored, at, to, used, foreign, ...rest }: Ordered): void {
    // The coordinator does not read targets back, so it did not see what somebody else had set.
    if (foreign) return;
    // What the guest holds beyond its previous target is already being given back.
    const actual = Math.min(rest.actual, Math.max(stored.target, to));
    const { guest } = stored;
    this.#given = this.#given.filter((each) => each.at > at - PACED_MS + CALL_MS);
    this.#given.push({ guest, at, size: actual - to });
    const given = this.#given.reduce((sum, each) => sum + (each.guest === guest ? each.size : 0), 0);
    if (this.harm.needRoom < NEED_SLACK || this.harm.isPressing) this.#hurriedAt = at;
    // The coordinator does not know the balloon's speed before the balloon has moved, and not exactly afterwards.
    const hurried = at - this.#hurriedAt <= PACED_MS ? 1.1 * Math.max(guest.speed, BALLOON_SPEED) : 0;
    const pace = Math.max(BRISK_RATE, guest.spec.maximum * PACE_FRACTION, hurried);
    if (given > (pace * (PACED_MS + 1000)) / 1000)
      this.#violate('spare', guest, `is shrunk by ${formatSize(given)} in ${PACED_MS / 1000} s`);
    const left = to - used;
    // The limit is half of what counts as spare by the guest's signal.
    const { watermarks } = this.#settings(guest);
    const spare = actual - used + watermarks;
    if (left < CRITICAL_SPARE - SAME) this.#violate('spare', guest, `is left ${formatSize(left)} more than it used`);
    else if (actual - to > spare / 2 + SAME)
      this.#violate('spare', guest, `is shrunk by ${formatSize(actual - to)} of ${formatSize(spare)} to spare`);
  }

  #checkFreshness({ stored, at, actual, figuresAt, before, foreign }: Ordered): void {
    const { guest, target } = stored;
    const age = at - figuresAt;
    // The coordinator saw the figures change within two periods and a second. When it saw that, they were at most one period old.
    const most = 3 * Math.max(1000 * guest.period, this.#config.intervalMs) + 1000 + CALL_MS;
    if (!(age <= most)) this.#violate('freshness', guest, `is shrunk on figures that are ${Math.round(age)} ms old`);
    else if (figuresAt < before - this.#config.intervalMs - 1000 * guest.period)
      this.#violate('freshness', guest, 'is shrunk on figures from before the last order');
    // A balloon that has stood still away from its target, because the guest booted or cannot reach it, is not on its way.
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
    // The coordinator sees from one reading to the next that the shrink makes no progress, in the second of two windows at the latest.
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
      // The balloon moved by itself, no driver controls it, or the coordinator forgot its order when it lost the connection.
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
    // The burst is about the memory that the guest has, not the memory that its host has.
    if (by !== 'guest') return;
    // The burst assumes that the others give what they are asked for. And a balloon's speed shows only once the balloon has moved.
    const unruly = this.#host.guests.some((each) => isUnruly(each) || each.spec.speed !== undefined || this.#foreign.has(each));
    if (unruly || now - this.#disturbedAt < BURST_LASTS + this.#config.intervalMs) return;
    const history = this.#history.get(guest) ?? [];
    for (const { at, bursts } of this.#shown) {
      const { rate = Number.NaN, takenAt = Number.NEGATIVE_INFINITY } = bursts.get(guest.uuid) ?? {};
      if (!(rate > 0) || now - at < CALL_MS || (history[0]?.at ?? now) > takenAt) continue;
      const since = [...history.filter((each) => each.at >= takenAt), past(guest, now)];
      const start = since[0]?.used ?? 0;
      // The burst counts from when it was shown. If the growth had begun before, unseen by the coordinator, it counts from the figures on.
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

  /** True: other guests rise too. The burst that is shown is for one guest, and does not cover what others take at the same time. */
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

/** True: the use grew at one rate from the beginning of the growth, and by no more than `most`, KiB/s. */
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

/** True: the guest's figures are nonsense, or less than the truth. */
function lies({ figures }: GuestSpec): boolean {
  return isNonsense(figures) || figures === 'win32';
}

/** True: the guest does not follow its targets, or does not report the truth. Nothing is promised for it. */
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
 * Time from the last change until the targets have been at rest for long enough to be sure, ms. It allows for the slowest guest to give all
 * that it has, one step of the gentle pace in two intervals (each shrink is seen to arrive before the next), and adds the time that its
 * balloon takes. It also allows for the pauses that the policy makes after growth, adopted sizes and failures.
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
