/**
 * What is believed of each guest, carried from sample to sample, and what can be said of a belief by itself.
 *
 * A new field of a guest is added in one place: a number in {@link NUMBERS}, anything else in {@link WORDS}, each with the value that it
 * has before the guest was ever read.
 *
 * The numbers of all guests are one flat array, guest after guest in the order of the last sweep; a belief is a small object over one row
 * of it, with an accessor for each number. Why: every sample changes some numbers of every guest, and the model before must stay as it
 * was, since the policy is pure. Copying an object of so many doubles makes a heap number of each, 2.8 µs a guest and copy; copying all
 * guests at once, as one array and an object over each row, takes 0.1 µs a guest [M].
 */
import type { GuestIdentity } from '../sweep.js';
import {
  BALLOON_SPEED,
  CRITICAL_SPARE,
  DEFAULT_SHARE,
  FIRST_PAUSE,
  FIRST_PROBE_PAUSE,
  FIRST_REFUSED_PAUSE,
  GENTLE_RATE,
  IDLE_AFTER,
  LEAST_OVERHEAD,
  RELIEVED,
  RISES_WITHIN,
  RISING,
  SAME,
  WATERMARKS,
} from './limits.js';
import type { Phase, PolicyConfig, Reason, Signal, Why } from './types.js';

/** Why the next plan must take a guest's target back. */
export interface Rollback {
  readonly reason: 'no-progress' | 'thrashing' | 'silent';
  /** Target to go back to, KiB: above the present one where a shrink is taken back, under it where a growth is. */
  readonly to: number;
}

const NEVER = Number.NEGATIVE_INFINITY;
const UNKNOWN = Number.NaN;

/** KiB, ms of the monotonic clock, KiB/s. NaN = not known, -Infinity = never. */
const NUMBERS = {
  // The settings in force.

  /** Size that it is not shrunk below; while it is stuck, the size that it could not be pushed below. */
  floor: UNKNOWN,
  /** Size that it is not grown above: what is set, the domain's maximum, a hard limit, or a size above which its balloon does not go. */
  ceiling: UNKNOWN,
  share: DEFAULT_SHARE,
  /** The most that its balloon may have. */
  maximum: UNKNOWN,
  /** The most that it may hold while we do not control it; 0 where it is on huge pages, which the host's memory does not count. */
  limit: UNKNOWN,

  // Its balloon.

  actual: UNKNOWN,
  /** When `actual` was read. */
  actualAt: UNKNOWN,
  /** Since when `actual` has been what it is, to within SAME. */
  restingSince: UNKNOWN,
  /** How often in a row it was asked for and not read, MISSED_APART at least apart, since its calls do not come back; and when last. */
  missed: 0,
  missedAt: NEVER,
  /** When it was last seen to stand still: paused, or back after it hung. It could not answer before. */
  stoodAt: NEVER,
  /** What was last asked for, or adopted. */
  target: UNKNOWN,
  /** When we last asked. */
  orderedAt: NEVER,
  /** The target before that, and the one that we asked for. */
  orderedFrom: UNKNOWN,
  orderedTo: UNKNOWN,
  /** Balloon size before memcoord came, or what somebody else has set since. */
  original: UNKNOWN,
  /** When what a coordinator before us knew of it was taken over; NaN = there was none. */
  recalledAt: UNKNOWN,
  /** When somebody else's move was last adopted, and when it was last reported. */
  adoptedAt: NEVER,
  adoptedReportedAt: NEVER,
  /** Learned speed of the balloon as it inflates. */
  speed: BALLOON_SPEED,
  /** Size below which the guest could not be pushed; 0 = none known. */
  reachable: 0,
  /** No shrinking before this time, and the next pause after a failure. */
  shrinkAfter: NEVER,
  pause: FIRST_PAUSE,
  /** No growing before this time, since a growth did not come, and the next pause. */
  growAfter: NEVER,
  growPause: FIRST_REFUSED_PAUSE,
  /** Refused moves: none before this time, and the next pause. */
  refusedUntil: NEVER,
  refusedPause: FIRST_REFUSED_PAUSE,
  /** Progress of a move under way: size at the start of the window, and the start. */
  windowActual: UNKNOWN,
  windowAt: UNKNOWN,
  /** Last shrink: when, and the target before it. */
  shrunkAt: NEVER,
  shrunkFrom: UNKNOWN,
  /** When it was last made to grow. */
  grownAt: NEVER,
  /** What was taken from it so far is paid off at this time, at the pace of shrinking (decide.ts). */
  paidAt: UNKNOWN,

  // Its process on the host.

  /** Resident memory of the domain's process; NaN where not reported. */
  rss: UNKNOWN,
  /** Part of it that the host counts as available too: pages of a file. */
  rssFile: 0,
  /** Granted memory that has not shown in `rss` yet: since `grantedSince`, and in the span of as long before that. */
  granted: 0,
  grantedBefore: 0,
  grantedSince: NEVER,

  // The guest's own figures.

  /** The last ones as they came. */
  unused: UNKNOWN,
  usable: UNKNOWN,
  available: UNKNOWN,
  lastUpdate: UNKNOWN,
  swapIn: UNKNOWN,
  majorFault: UNKNOWN,
  minorFault: UNKNOWN,
  /** When they were last seen to change: proof that the guest answers. */
  figuresAt: UNKNOWN,
  /** They are of a moment after this: of a refresh, or of the stats period before they were seen. */
  takenAfter: UNKNOWN,
  /** How often they changed since the guest booted. */
  samples: 0,
  /** How often its counters fell without a boot: they are rates, or wrap around. */
  falls: 0,
  /** `size - available`: what the guest's kernel keeps from MemTotal, constant for a boot; known once two samples agreed on it. */
  kernel: UNKNOWN,
  /** The same as the last sample of a resting balloon had it. */
  kernelSeen: UNKNOWN,
  /** Balloon size and MemTotal when the latter was last seen to follow the balloon, or could have. */
  followedActual: UNKNOWN,
  followedAvailable: UNKNOWN,
  /** Balloon size at the time of the figures. */
  size: UNKNOWN,
  /** `size - spare`: what the guest uses, its kernel's share included (it cancels out). */
  used: UNKNOWN,
  /** Part of `used` that it was given and has not touched: its kernel does not count it as free yet. */
  hidden: 0,
  /** Resident memory of its process at the time of the figures. */
  rssAtFigures: UNKNOWN,
  /** Growth of `used`, without what is hidden: fast up, slow down; never negative. */
  trend: 0,
  /** When its figures last showed that its use had risen. */
  roseAt: NEVER,
  /** Usual major faults a second, while not shrunk. */
  usualFaults: 0,
  /** Balloon size at the last figures before which it neither swapped nor faulted more than usual. */
  sound: UNKNOWN,

  // Its page cache (cache.ts).

  /** What it had read from its disks when that was last asked, and when; NaN = never asked, negative = the hypervisor does not tell. */
  reads: UNKNOWN,
  readsAt: NEVER,
  /** Since when they have been asked for often enough to tell a rate. */
  readsSince: NEVER,
  /** Reads a second, now and usually. */
  readRate: UNKNOWN,
  /** Its page cache when they were last read, and what it had grown by a second. */
  cacheAtReads: UNKNOWN,
  cacheGrowth: 0,
  usualReads: UNKNOWN,
  /** Reads above the usual, of late. */
  excess: 0,
  /** What it will read to fill the memory that it was given for its cache. */
  fills: 0,
  /** When cache was last taken from it, and how many steps since that last cost something. */
  cutAt: NEVER,
  probes: 0,
  /** Balloon size when it last read no more than usual. */
  quietSize: UNKNOWN,
  /** Cache that it was found to work in: counts as use until `probeAfter`. */
  working: 0,
  /** Size that its cache takes: not shrunk below it before `probeAfter`, unless somebody waits. */
  cacheFloor: 0,
  probeAfter: NEVER,
  probePause: FIRST_PROBE_PAUSE,
  /** What probing has cost it: read above the usual while it had less than before memcoord came, and for how long, ms. */
  rereads: 0,
  rereadMs: 0,

  // Its activity.

  /** Time that its virtual CPUs had run at the last sample, and when that was; NaN = the host does not tell. */
  cpu: UNKNOWN,
  cpuAt: UNKNOWN,
  /** The same at the last sample that did not refresh its figures. */
  cpuAtSweep: UNKNOWN,
  /** The same before its figures were taken: what memory it has taken since, it has taken in the time that they ran since. */
  cpuAtFigures: UNKNOWN,
  /** When it was last seen at work, and since when it has been. */
  busyAt: NEVER,
  activeSince: NEVER,
  rebootedAt: NEVER,
  /** Since when it has not answered since it was seen or booted; NaN = it has. */
  bootingSince: UNKNOWN,
  /** Its rest after boot: not shrunk before, unless somebody waits for memory (rule 17). */
  restUntil: NEVER,

  // What the last plan made of it; NaN where it is not to be moved.

  /** What it uses, the spare that nobody takes, and what its trend takes until the next sample, within its bounds. */
  critical: UNKNOWN,
  /** What it needs: use, least spare, and what its trend takes until we react, within its bounds. */
  need: UNKNOWN,
  /** What it should have, were there room for all: its need, or a cushion for a burst. */
  want: UNKNOWN,
  /** What it is given: whole MiB, within its bounds. */
  allocation: UNKNOWN,
  /** Time from its need until it has the memory, ms. */
  reaction: UNKNOWN,
};

/** What of a belief is no number. */
const WORDS = {
  phase: 'booting' as Phase,
  /** Why it is not moved; null where it is coordinated. */
  why: null as Why | null,
  /** The figure that counts as its spare: what is set, or `unused` where it does not report `usable`. */
  signal: 'usable' as Signal,
  /** True where the hypervisor refuses to have it take new figures: it is seen no more often than it reports by itself. */
  refusesRefresh: false,
  /** True where `size` is known and not only assumed. */
  paired: false,
  /** False where MemTotal was seen not to follow the balloon (Windows, autodeflate). */
  follows: true,
  rollback: null as Rollback | null,
  /** Somebody else's move is being adopted and has not been reported yet. */
  adopting: false,
  /** It was seen to rise unasked at the last reading and may go on: where to, nobody tells us. */
  rising: false,
  lastReason: null as Reason | null,
  /** That it has not answered yet has been reported. */
  bootReported: false,
  /** Its pause of shrinking is due to a shrink that made it swap or fault. */
  thrashed: false,
};

type Numbers = { -readonly [Field in keyof typeof NUMBERS]: number };

/** A belief in the making: a copy in the next model, which the steps of a plan write to. */
export type Draft = Numbers & typeof WORDS & GuestIdentity;
/** What is believed of one guest. */
export type Belief = Readonly<Draft>;

const NAMES = Object.keys(NUMBERS) as (keyof Numbers)[];
/** Numbers per guest. */
const WIDTH = NAMES.length;
const INITIAL = Float64Array.from(Object.values(NUMBERS));

/** One row of the array, with a pair of accessors for each name. */
class Row {
  readonly #numbers: Float64Array;
  readonly #offset: number;

  constructor(numbers: Float64Array, row: number, words: object) {
    this.#numbers = numbers;
    this.#offset = row * WIDTH;
    Object.assign(this, words);
  }

  static {
    for (const [place, name] of NAMES.entries()) {
      Object.defineProperty(Row.prototype, name, {
        get(this: Row): number | undefined {
          return this.#numbers[this.#offset + place];
        },
        set(this: Row, value: number) {
          this.#numbers[this.#offset + place] = value;
        },
      });
    }
  }
}

/** Drafts of the guests of the next model, made row by row. The model before stays as it is. */
export class Drafts {
  readonly numbers: Float64Array;
  readonly guests: Draft[] = [];
  readonly #before: Model;

  constructor(before: Model, guests: number) {
    this.#before = before;
    // Guests mostly stay where they were, and then this is all that their numbers take.
    this.numbers = new Float64Array(guests * WIDTH);
    this.numbers.set(before.numbers.subarray(0, this.numbers.length));
  }

  /** The next row is a copy of the belief in the row `from` of the model before. */
  keep(from: number): Draft {
    const { guests, numbers } = this.#before;
    const belief = guests[from];
    if (belief === undefined) throw new RangeError(`the model has no row ${from}`);
    const row = this.guests.length;
    if (from !== row) this.numbers.set(numbers.subarray(from * WIDTH, (from + 1) * WIDTH), row * WIDTH);
    return this.#add(belief);
  }

  /** The next row is of a guest that was never seen before. */
  discover({ uuid, name, id }: GuestIdentity, at: number): Draft {
    this.numbers.set(INITIAL, this.guests.length * WIDTH);
    const draft = this.#add({ uuid, name, id, ...WORDS });
    draft.restingSince = draft.windowAt = draft.paidAt = at;
    return draft;
  }

  /** The accessors are on the prototype, so that of a belief its words alone are copied. */
  #add(words: object): Draft {
    const draft = new Row(this.numbers, this.guests.length, words) as unknown as Draft;
    this.guests.push(draft);
    return draft;
  }
}

/**
 * `ample`: every need is met. `contended`: spare memory per share is made equal. `overcommitted`: there is not even the critical spare for
 * everyone, and nobody is pushed further for another.
 */
export type HostState = 'ample' | 'contended' | 'overcommitted';

/** What is believed of the host's guests, in the order of the last sweep. */
export interface Model {
  readonly at: number;
  readonly guests: readonly Belief[];
  /** The beliefs' numbers. */
  readonly numbers: Float64Array;
  /** Host state reported last, and since when the present one holds. */
  readonly reported: HostState;
  readonly state: HostState;
  readonly stateSince: number;
  readonly pressure: boolean;
  /** What the host had available (account.ts), KiB, and how fast it falls, KiB/s. */
  readonly available: number;
  readonly drain: number;
  /** What is asked of each donor, KiB/s (decide.ts). */
  readonly rate: number;
  /** True while the host has less available than its reserve. */
  readonly reserveInDanger: boolean;
  /** True once it was reported that the hypervisor refuses to have figures refreshed. */
  readonly reportedRefusal: boolean;
  /** True while a guest, or the host itself, lacks memory that guests have yet to give. */
  readonly waiting: boolean;
}

/** What is believed before the first sample: the first plan starts from it. */
export const EMPTY_MODEL: Model = {
  at: Number.NEGATIVE_INFINITY,
  guests: [],
  numbers: new Float64Array(0),
  reported: 'ample',
  state: 'ample',
  stateSince: Number.NEGATIVE_INFINITY,
  pressure: false,
  available: Number.NaN,
  drain: Number.POSITIVE_INFINITY,
  rate: GENTLE_RATE,
  reserveInDanger: false,
  reportedRefusal: false,
  waiting: false,
};

/**
 * Rule 3. A guest that we control: its driver answers, or would if it were not paused, and we may move it. All others are outside the
 * account.
 */
export function isControlled({ phase, samples, actual }: Belief): boolean {
  // A guest can be paused while it boots.
  const answers = phase === 'steady' || phase === 'stuck' || (phase === 'paused' && samples >= 2);
  return answers && Number.isFinite(actual);
}

/** Rule 9 and the phases: only a guest that runs, answers and may be coordinated is moved. */
export function isMovable(belief: Belief): boolean {
  return (belief.phase === 'steady' || belief.phase === 'stuck') && Number.isFinite(belief.used) && Number.isFinite(belief.actual);
}

/** It takes memory now: by its trend, which is slow to fall, and by what its figures have shown of late. */
export function isRising({ trend, roseAt }: Belief, at: number, { intervalMs }: PolicyConfig): boolean {
  return trend >= RISING && at - roseAt < Math.max(RISES_WITHIN, 2 * intervalMs);
}

/**
 * Whether it may be asked for memory, by what came of it before (rules 7 and 14). What made a guest swap or fault is asked for again all the
 * same where the host will soon lack memory: a host that runs out kills.
 */
export function mayGive({ shrinkAfter, rollback, thrashed }: Belief, at: number, { lack, room }: { lack: number; room: number }): boolean {
  if (rollback === null && at >= shrinkAfter) return true;
  return lack > 0 && room < 0 && thrashed && (rollback === null || rollback.reason === 'thrashing');
}

/** Memory that a controlled guest may hold, its process' overhead aside (rule 3). */
export function charge(belief: Belief): number {
  return Math.max(belief.target, belief.actual);
}

/** What the process takes beside the guest's memory. */
export function overhead({ rss, actual }: Belief): number {
  return rss > actual + LEAST_OVERHEAD ? rss - actual : LEAST_OVERHEAD;
}

/**
 * What a guest can still take of the host's memory, KiB: a controlled one what it is charged and has not touched, any other one its limit
 * less what it holds (rule 3).
 */
export function untouched(belief: Belief): number {
  const { rss, limit } = belief;
  const held = rss > 0 ? rss : 0;
  if (isControlled(belief)) return rss > 0 ? Math.max(0, charge(belief) + overhead(belief) - held) : 0;
  return limit > 0 ? Math.max(0, limit + LEAST_OVERHEAD - held) : 0;
}

/** What a guest's target can be lifted to and costs nothing: what it holds, if that was read in this sample. Since an earlier one it may have given some. */
export function surelyHeld(belief: Belief, at: number): number {
  return belief.actualAt === at ? charge(belief) : belief.target;
}

/** Spare of the guest at its present balloon size, in its signal. */
export function spareNow(belief: Belief): number {
  return belief.actual - belief.used;
}

/** Spare that nobody takes from a guest, in its signal. */
export function criticalSpare(belief: Belief): number {
  return CRITICAL_SPARE + watermarks(belief);
}

/** What its trend takes of its spare within `ms`, KiB: what it does not count as free goes first. */
export function takes({ trend, hidden }: Belief, ms: number): number {
  return Math.max(0, (trend * ms) / 1000 - hidden);
}

/** Time until one that is kept alive is helped again, ms. */
export function untilHelped({ reaction }: Belief): number {
  return Math.min(reaction, RELIEVED);
}

/** Spare that the guest can use up; what is being taken from it is no longer there. */
export function spareToUse(belief: Belief): number {
  return Math.min(belief.actual, belief.target) - belief.used - watermarks(belief);
}

/** What of the guest's spare cannot be used, where the signal is MemFree: the kernel keeps the watermarks for itself. */
export function watermarks(belief: Belief): number {
  if (belief.signal === 'usable') return 0;
  const kept = belief.unused - belief.usable;
  return Number.isNaN(kept) ? WATERMARKS : Math.max(0, kept);
}

/** A guest that has not been at work for a while. */
export function isIdle(belief: Belief, at: number): boolean {
  return at - belief.busyAt >= IDLE_AFTER;
}

/** Two sizes that the balloon cannot tell apart. */
export function isSame(one: number, other: number): boolean {
  return Math.abs(one - other) <= SAME;
}

/** Figures of one guest in a sample, by the fields of sweep.ts. */
export type Figure = (field: number) => number;
