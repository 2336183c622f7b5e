/**
 * What is believed about each guest, carried from sample to sample, and what follows from a single belief.
 *
 * To add a field, add it in one place: a number in {@link NUMBERS}, anything else in {@link WORDS}, each with the value that it has before
 * the guest is first read.
 *
 * The numbers of all guests are one flat array, guest after guest in the order of the last sweep. A belief is a small object over one row
 * of it, with an accessor for each number. Why: every sample changes some numbers of every guest, and the previous model must stay as it
 * was, since the policy is pure. Copying an object with so many doubles allocates a heap number for each, 2.8 µs per guest and copy.
 * Copying all guests at once, as one array with an object over each row, takes 0.1 µs per guest [M].
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

/** Why the next plan must take back a guest's target. */
export interface Rollback {
  readonly reason: 'no-progress' | 'thrashing' | 'silent';
  /** Target to go back to, KiB: above the present one to undo a shrink, below it to undo a growth. */
  readonly to: number;
}

const NEVER = Number.NEGATIVE_INFINITY;
const UNKNOWN = Number.NaN;

/** KiB, ms of the monotonic clock, KiB/s. NaN = not known, -Infinity = never. "It" is the guest. */
const NUMBERS = {
  // The settings in force.

  /** Size that it is not shrunk below. While it is stuck, at least the size that it could not be shrunk below. */
  floor: UNKNOWN,
  /** Size that it is not grown above: what is set, the domain's maximum, a hard limit, or little above `actual` after a failed growth. */
  ceiling: UNKNOWN,
  share: DEFAULT_SHARE,
  /** The most that its balloon may have. */
  maximum: UNKNOWN,
  /** The most that it may hold while memcoord does not control it; 0 on huge pages, which are not part of the host's available memory. */
  limit: UNKNOWN,

  // Its balloon.

  actual: UNKNOWN,
  /** When `actual` was read. */
  actualAt: UNKNOWN,
  /** Since when `actual` has been unchanged, to within SAME. */
  restingSince: UNKNOWN,
  /** How many times in a row it was asked for and not read, MISSED_APART at least apart, as its calls did not return; and when last. */
  missed: 0,
  missedAt: NEVER,
  /** When it was last seen paused, or back after it hung: before that it could not report. */
  stoodAt: NEVER,
  /** The target that was last ordered, or adopted. */
  target: UNKNOWN,
  /** When memcoord last ordered a move. */
  orderedAt: NEVER,
  /** The target before that order, and the target that was ordered. */
  orderedFrom: UNKNOWN,
  orderedTo: UNKNOWN,
  /** Balloon size before memcoord came, or what somebody else has set since. */
  original: UNKNOWN,
  /** When the state of an earlier coordinator was restored; NaN = there was none. */
  recalledAt: UNKNOWN,
  /** When somebody else's move was last adopted, and when it was last reported. */
  adoptedAt: NEVER,
  adoptedReportedAt: NEVER,
  /** Learned speed of the balloon while it inflates. */
  speed: BALLOON_SPEED,
  /** Size below which the guest could not be shrunk; 0 = none known. */
  reachable: 0,
  /** No shrinking before this time, and the next pause after a failure. */
  shrinkAfter: NEVER,
  pause: FIRST_PAUSE,
  /** No growing before this time, because a growth did not come, and the next pause. */
  growAfter: NEVER,
  growPause: FIRST_REFUSED_PAUSE,
  /** After a refused move: no move before this time, and the next pause. */
  refusedUntil: NEVER,
  refusedPause: FIRST_REFUSED_PAUSE,
  /** Progress of a move under way: size at the start of the window, and when the window started. */
  windowActual: UNKNOWN,
  windowAt: UNKNOWN,
  /** Last shrink: when, and the target before it. */
  shrunkAt: NEVER,
  shrunkFrom: UNKNOWN,
  /** When memcoord last grew it. */
  grownAt: NEVER,
  /** When all that was taken from it so far is paid off, at the pace of shrinking (decide.ts). */
  paidAt: UNKNOWN,

  // Its process on the host.

  /** Resident memory of the domain's process; NaN where not reported. */
  rss: UNKNOWN,
  /** Part of `rss` that the host also counts as available: pages of a file. */
  rssFile: 0,
  /** Granted memory that has not shown in `rss` yet: since `grantedSince`, and in the equally long span before that. */
  granted: 0,
  grantedBefore: 0,
  grantedSince: NEVER,

  // The guest's own figures.

  /** The last figures, as reported. */
  unused: UNKNOWN,
  usable: UNKNOWN,
  available: UNKNOWN,
  lastUpdate: UNKNOWN,
  swapIn: UNKNOWN,
  majorFault: UNKNOWN,
  minorFault: UNKNOWN,
  /** When the figures were last seen to change, which proves that the guest answers. */
  figuresAt: UNKNOWN,
  /** The figures were taken after this time: that of the refresh, or one stats period before they were seen. */
  takenAfter: UNKNOWN,
  /** How often the figures have changed since the guest booted. */
  samples: 0,
  /** How often its counters fell without a boot: they are rates, or wrap around. */
  falls: 0,
  /** `size - available`: what the guest's kernel keeps out of MemTotal. Constant for a boot; known once two samples agree on it. */
  kernel: UNKNOWN,
  /** The same, at the last sample of a resting balloon. */
  kernelSeen: UNKNOWN,
  /** Balloon size and MemTotal when memcoord last checked whether MemTotal follows the balloon. */
  followedActual: UNKNOWN,
  followedAvailable: UNKNOWN,
  /** Balloon size at the time of the figures. */
  size: UNKNOWN,
  /** `size - spare`: what the guest uses. This includes its kernel's share, which cancels out. */
  used: UNKNOWN,
  /** Part of `used` that it was given and has not touched: its kernel does not count it as free yet. */
  hidden: 0,
  /** Resident memory of its process at the time of the figures. */
  rssAtFigures: UNKNOWN,
  /** Growth of `used` without hidden memory: fast up, slow down, never negative. */
  trend: 0,
  /** When its figures last showed a rise of its use. */
  roseAt: NEVER,
  /** Usual major faults a second, while not shrunk. */
  usualFaults: 0,
  /** Balloon size at the last figures that showed neither swap-in nor faults above the usual. */
  sound: UNKNOWN,

  // Its page cache (cache.ts).

  /** What it had read from its disks at the last reading, and when; NaN = never read, negative = the hypervisor does not report it. */
  reads: UNKNOWN,
  readsAt: NEVER,
  /** Since when its reads have been read often enough to give a rate. */
  readsSince: NEVER,
  /** Reads a second at the last reading; `usualReads` is the usual rate. */
  readRate: UNKNOWN,
  /** Its page cache at the last reading of its reads, and how much that had grown a second. */
  cacheAtReads: UNKNOWN,
  cacheGrowth: 0,
  usualReads: UNKNOWN,
  /** Recent reads above the usual. */
  excess: 0,
  /** What it has yet to read to fill the memory that it was given for its cache. */
  fills: 0,
  /** When cache was last taken from it, and how many steps there were since the last one that cost something. */
  cutAt: NEVER,
  probes: 0,
  /** Balloon size when it last read no more than usual. */
  quietSize: UNKNOWN,
  /** Cache that it was found to work in. Counts as use until `probeAfter`. */
  working: 0,
  /** Size that it takes with its cache. It is not shrunk below this before `probeAfter`, unless somebody waits. */
  cacheFloor: 0,
  probeAfter: NEVER,
  probePause: FIRST_PROBE_PAUSE,
  /** What probing has cost it: what it read above the usual while it had less than before memcoord came, and for how long, ms. */
  rereads: 0,
  rereadMs: 0,

  // Its activity.

  /** Time that its virtual CPUs had run at the last sample, and when that was; NaN = the host does not report it. */
  cpu: UNKNOWN,
  cpuAt: UNKNOWN,
  /** The same at the sample before the last one that did not refresh its figures. */
  cpuAtSweep: UNKNOWN,
  /** The same at a sample before its figures were taken. All memory that it has taken since, it has taken in the CPU time since. */
  cpuAtFigures: UNKNOWN,
  /** When it was last seen at work, and since when it has been. */
  busyAt: NEVER,
  activeSince: NEVER,
  rebootedAt: NEVER,
  /** Since when it has not answered after it was discovered or booted; NaN = it has. */
  bootingSince: UNKNOWN,
  /** End of its rest after boot: it is not shrunk before, unless somebody waits for memory (rule 17). */
  restUntil: NEVER,

  // What the last plan computed for it; NaN if it cannot be moved.

  /** What it uses, its critical spare, and what its trend takes until it is helped again, within its bounds. */
  critical: UNKNOWN,
  /** What it needs: use, working cache, least spare, and what its trend takes until memcoord reacts, within its bounds. */
  need: UNKNOWN,
  /** What it should have if there is room for all: its need, or a cushion for a burst if that is more. */
  want: UNKNOWN,
  /** What it is given: whole MiB, within its bounds. */
  allocation: UNKNOWN,
  /** Time from its need until it has the memory, ms. */
  reaction: UNKNOWN,
};

/** The fields of a belief that are not numbers. */
const WORDS = {
  phase: 'booting' as Phase,
  /** Why it is not moved, or does not answer; null = no reason known. */
  why: null as Why | null,
  /** The figure that counts as its spare: what is set, or `unused` if it does not report `usable`. */
  signal: 'usable' as Signal,
  /** True if the hypervisor refuses to refresh its figures: memcoord then sees only what it reports by itself. */
  refusesRefresh: false,
  /** True if `size` is known and not only assumed. */
  paired: false,
  /** False if MemTotal was seen not to follow the balloon (Windows, autodeflate). */
  follows: true,
  rollback: null as Rollback | null,
  /** Somebody else's move is being adopted and has not been reported yet. */
  adopting: false,
  /** At the last reading the balloon had grown without an order. It may go on, and memcoord does not know how far. */
  rising: false,
  lastReason: null as Reason | null,
  /** True once it was reported that it has not answered yet. */
  bootReported: false,
  /** True if its pause in shrinking is due to a shrink that made it swap or fault. */
  thrashed: false,
};

type Numbers = { -readonly [Field in keyof typeof NUMBERS]: number };

/** A belief under construction: a copy in the next model, which the steps of a plan write to. */
export type Draft = Numbers & typeof WORDS & GuestIdentity;
/** What is believed about one guest. */
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

/** Drafts of the guests of the next model, made row by row. The previous model stays as it is. */
export class Drafts {
  readonly numbers: Float64Array;
  readonly guests: Draft[] = [];
  readonly #before: Model;

  constructor(before: Model, guests: number) {
    this.#before = before;
    // Guests mostly keep their rows, and then this one copy is all that their numbers cost.
    this.numbers = new Float64Array(guests * WIDTH);
    this.numbers.set(before.numbers.subarray(0, this.numbers.length));
  }

  /** Adds a row: a copy of the belief in the row `from` of the previous model. */
  keep(from: number): Draft {
    const { guests, numbers } = this.#before;
    const belief = guests[from];
    if (belief === undefined) throw new RangeError(`the model has no row ${from}`);
    const row = this.guests.length;
    if (from !== row) this.numbers.set(numbers.subarray(from * WIDTH, (from + 1) * WIDTH), row * WIDTH);
    return this.#add(belief);
  }

  /** Adds a row for a guest, or a start of a guest, that was never seen before. */
  discover({ uuid, name, id }: GuestIdentity, at: number): Draft {
    this.numbers.set(INITIAL, this.guests.length * WIDTH);
    const draft = this.#add({ uuid, name, id, ...WORDS });
    draft.restingSince = draft.windowAt = draft.paidAt = at;
    return draft;
  }

  /** The accessors are on the prototype, so only the words of a belief are copied. */
  #add(words: object): Draft {
    const draft = new Row(this.numbers, this.guests.length, words) as unknown as Draft;
    this.guests.push(draft);
    return draft;
  }
}

/**
 * `ample`: every need is met. `contended`: spare memory per share is made equal. `overcommitted`: there is not even the critical spare for
 * every guest, and no guest is pushed further for another.
 */
export type HostState = 'ample' | 'contended' | 'overcommitted';

/** What is believed about the host's guests, in the order of the last sweep. */
export interface Model {
  readonly at: number;
  readonly guests: readonly Belief[];
  /** The beliefs' numbers. */
  readonly numbers: Float64Array;
  /** Host state that was last reported, the present one, and since when that holds. */
  readonly reported: HostState;
  readonly state: HostState;
  readonly stateSince: number;
  readonly pressure: boolean;
  /** What the host had available (account.ts), KiB, and how fast that falls, KiB/s. */
  readonly available: number;
  readonly drain: number;
  /** What each donor is asked for, KiB/s (decide.ts). */
  readonly rate: number;
  /** True while the host has less available than its reserve. */
  readonly reserveInDanger: boolean;
  /** True once it was reported that the hypervisor refuses to refresh figures. */
  readonly reportedRefusal: boolean;
  /** True while a guest, or the host itself, lacks memory that guests have yet to give. */
  readonly waiting: boolean;
}

/** The model before the first sample. The first plan starts from it. */
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
 * Rule 3. True for a guest that memcoord controls: its driver answers, or would if the guest were not paused, and memcoord may move it. All
 * other guests are charged nothing.
 */
export function isControlled({ phase, samples, actual }: Belief): boolean {
  // A guest can be paused while it boots, before its driver has answered.
  const answers = phase === 'steady' || phase === 'stuck' || (phase === 'paused' && samples >= 2);
  return answers && Number.isFinite(actual);
}

/** Rule 9 and the phases: only a guest that runs, answers and may be coordinated is moved. */
export function isMovable(belief: Belief): boolean {
  return (belief.phase === 'steady' || belief.phase === 'stuck') && Number.isFinite(belief.used) && Number.isFinite(belief.actual);
}

/** True if the guest takes memory now, by its trend, which is slow to fall, and by its recent figures. */
export function isRising({ trend, roseAt }: Belief, at: number, { intervalMs }: PolicyConfig): boolean {
  return trend >= RISING && at - roseAt < Math.max(RISES_WITHIN, 2 * intervalMs);
}

/**
 * True if the guest may be asked for memory, by the outcome of earlier shrinks (rules 7 and 14). A guest that a shrink made swap or fault
 * is asked again during its pause if the host will soon lack memory and cannot pay need: a host that runs out kills guests.
 */
export function mayGive({ shrinkAfter, rollback, thrashed }: Belief, at: number, { lack, room }: { lack: number; room: number }): boolean {
  if (rollback === null && at >= shrinkAfter) return true;
  return lack > 0 && room < 0 && thrashed && (rollback === null || rollback.reason === 'thrashing');
}

/** Memory that a controlled guest may hold, without its process's overhead (rule 3). */
export function charge(belief: Belief): number {
  return Math.max(belief.target, belief.actual);
}

/** What the guest's process takes besides the guest's memory. */
export function overhead({ rss, actual }: Belief): number {
  return rss > actual + LEAST_OVERHEAD ? rss - actual : LEAST_OVERHEAD;
}

/**
 * What a guest can still take of the host's memory, KiB: for a controlled guest what it is charged and has not touched, for any other guest
 * its limit less what it holds (rule 3).
 */
export function untouched(belief: Belief): number {
  const { rss, limit } = belief;
  const held = rss > 0 ? rss : 0;
  if (isControlled(belief)) return rss > 0 ? Math.max(0, charge(belief) + overhead(belief) - held) : 0;
  return limit > 0 ? Math.max(0, limit + LEAST_OVERHEAD - held) : 0;
}

/**
 * What a guest's target can be raised to at no cost: what the guest holds, if that was read in this sample. Since an older reading it may
 * have given some.
 */
export function surelyHeld(belief: Belief, at: number): number {
  return belief.actualAt === at ? charge(belief) : belief.target;
}

/** Spare of the guest at its present balloon size, in its signal. */
export function spareNow(belief: Belief): number {
  return belief.actual - belief.used;
}

/** Spare that is never taken from a guest, in its signal. */
export function criticalSpare(belief: Belief): number {
  return CRITICAL_SPARE + watermarks(belief);
}

/** What the guest's trend takes of its spare within `ms`, KiB. The guest uses hidden memory first. */
export function takes({ trend, hidden }: Belief, ms: number): number {
  return Math.max(0, (trend * ms) / 1000 - hidden);
}

/** Time until a guest that is kept alive is helped again, ms. */
export function untilHelped({ reaction }: Belief): number {
  return Math.min(reaction, RELIEVED);
}

/** Spare that the guest can use up. What is being taken from it no longer counts. */
export function spareToUse(belief: Belief): number {
  return Math.min(belief.actual, belief.target) - belief.used - watermarks(belief);
}

/** Part of the guest's spare that it cannot use if the signal is MemFree: its kernel keeps the watermarks for itself. */
export function watermarks(belief: Belief): number {
  if (belief.signal === 'usable') return 0;
  const kept = belief.unused - belief.usable;
  return Number.isNaN(kept) ? WATERMARKS : Math.max(0, kept);
}

/** True if a guest has not been at work for a while. */
export function isIdle(belief: Belief, at: number): boolean {
  return at - belief.busyAt >= IDLE_AFTER;
}

/** True if the balloon cannot tell the two sizes apart. */
export function isSame(one: number, other: number): boolean {
  return Math.abs(one - other) <= SAME;
}

/** Figures of one guest in a sample, by the fields of sweep.ts. */
export type Figure = (field: number) => number;
