/** What is believed of each guest, carried from sample to sample: the types, and what can be said of a belief by itself. */
import type { GuestIdentity } from '../sweep.js';
import { BALLOON_SPEED, DEFAULT_SHARE, FIRST_PAUSE, FIRST_REFUSED_PAUSE, LEAST_OVERHEAD } from './limits.js';
import type { GuestContext, Phase, Reason, Signal } from './types.js';

/** Why the next plan must take a guest's target back. */
export interface Rollback {
  readonly reason: 'no-progress' | 'thrashing' | 'silent';
  /** Target to go back to, KiB: above the present one where a shrink is taken back, under it where a growth is. */
  readonly to: number;
}

/** What is believed of one guest. KiB, ms, KiB/s; NaN = not known. The numbers are kept in `Model.numbers` (rows.ts). */
export interface Belief {
  readonly uuid: string;
  readonly name: string;
  /** libvirt's id: another one means another start of the domain. */
  readonly id: number;
  readonly phase: Phase;
  /** Why it is excluded or not moved, for people; null where it is coordinated. */
  readonly why: string | null;

  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  readonly signal: Signal;

  /** True where its balloon frees nothing for the host: it is charged its maximum. */
  readonly pinned: boolean;
  /** The domain's own maximum. */
  readonly maximum: number;
  readonly actual: number;
  /** How many samples in a row have asked for it and not read it, since its calls do not come back. */
  readonly missed: number;
  /** When it was last seen to stand still: paused, or back after it hung. It could not answer before. -Infinity = never. */
  readonly stoodAt: number;
  /** When `actual` was read. */
  readonly actualAt: number;
  /** Since when `actual` has been what it is, to within SAME. */
  readonly restingSince: number;
  /** What was last asked for, or adopted. */
  readonly target: number;
  /** When we last asked; -Infinity = never. */
  readonly orderedAt: number;
  /** The target before that, and the one that we asked for; NaN = never. */
  readonly orderedFrom: number;
  readonly orderedTo: number;
  /** Balloon size before memcoord came, or what somebody else has set since. */
  readonly original: number;
  /** When what a coordinator before us knew of it was taken over; NaN = there was none. */
  readonly recalledAt: number;
  /** Refused moves: none before this time, and the next pause. */
  readonly refusedUntil: number;
  readonly refusedPause: number;
  /** Resident memory of the domain's process on the host; NaN where not reported. */
  readonly rss: number;
  /** What the process takes beside the guest's memory. */
  readonly overhead: number;

  /** The guest's last figures as they came. */
  readonly unused: number;
  readonly usable: number;
  readonly available: number;
  readonly lastUpdate: number;
  readonly swapIn: number;
  readonly majorFault: number;
  readonly minorFault: number;
  /** When the figures were last seen to change: proof that the guest answers. NaN = never. */
  readonly figuresAt: number;
  /** They are of a moment after this: of a refresh, or of the stats period before they were seen. */
  readonly takenAfter: number;
  /** How often they changed since the guest is in this phase. */
  readonly samples: number;
  /** `size - available`: what the guest's kernel keeps from MemTotal, constant for a boot; known once two samples agreed on it. */
  readonly kernel: number;
  /** K as the last sample of a resting balloon had it. */
  readonly kernelSeen: number;
  /** Balloon size at the time of the figures. */
  readonly size: number;
  /** True where `size` is known and not only assumed. */
  readonly paired: boolean;
  /** `size - spare`: what the guest uses, its kernel's share included (K cancels out). */
  readonly used: number;
  /** Growth of `used`, fast up, slow down; never negative. */
  readonly trend: number;

  /** Learned speed of the balloon. */
  readonly speed: number;
  /** Size below which the guest could not be pushed; 0 = none known. */
  readonly reachable: number;
  /** No shrinking before this time, and the next pause after a failure. */
  readonly shrinkAfter: number;
  readonly pause: number;
  /** Progress of a shrink under way: size at the start of the window, and the start. */
  readonly windowActual: number;
  readonly windowAt: number;
  /** Last shrink: when, and the target before it. */
  readonly shrunkAt: number;
  readonly shrunkFrom: number;
  /** When it was last made to grow. */
  readonly grownAt: number;
  /** Usual major faults a second, while not shrunk. */
  readonly usualFaults: number;
  /** What was taken from it so far is paid off at this time, at the pace of shrinking (safety.ts). */
  readonly paidAt: number;

  /** Time that its virtual CPUs had run at the last sample, and when that was; NaN = the host does not tell. */
  readonly cpu: number;
  readonly cpuAt: number;
  /** The same at the last sample that did not refresh its figures. */
  readonly cpuAtSweep: number;
  /** The same before its figures were taken: what memory it has taken since, it has taken in the time that they ran since. */
  readonly cpuAtFigures: number;
  /** When it was last seen at work (activity.ts), and when it was so first after it had been idle. */
  readonly busyAt: number;
  readonly activeSince: number;
  /** True where the hypervisor refuses to have it take new figures: it is seen no more often than it tells by itself. */
  readonly refusesRefresh: boolean;

  readonly rebootedAt: number;
  readonly rollback: Rollback | null;
  /** Somebody else's move is being adopted and has not been told yet. */
  readonly adopting: boolean;
  /** It was seen to rise unasked at the last reading and may go on: where to, nobody tells us. */
  readonly rising: boolean;
  /** When people were last told of one. */
  readonly adoptedToldAt: number;
  readonly lastReason: Reason | null;

  // What the last plan made of it; NaN where it is not to be moved.

  /** Its floor; while it is stuck, the size that it could not be pushed below. */
  readonly effectiveFloor: number;
  /** Its charge when the plan was made. */
  readonly holds: number;
  /** What it uses and the spare that nobody takes, within its bounds. */
  readonly critical: number;
  /** What it should have, were there room for all, within its bounds. */
  readonly need: number;
  /** What it gets out of the pool: whole MiB, within its bounds. */
  readonly allocation: number;
  /** Rise of its use that it would survive right now, KiB/s. */
  readonly survivableBurst: number;
  /** Its new target; NaN where it keeps the old one. */
  readonly planned: number;
}

/** A belief in the making: a copy in the next model, which the steps of a plan write to. */
export type Draft = { -readonly [Field in keyof Belief]: Belief[Field] };

/** What is believed of the host's guests, in the order of the last sweep. */
export interface Model {
  readonly at: number;
  readonly guests: readonly Belief[];
  /** The beliefs' numbers, by the layout of rows.ts. */
  readonly numbers: Float64Array;
  /** Host state told last, and since when the present one holds. */
  readonly told: HostState;
  readonly state: HostState;
  readonly stateSince: number;
  readonly pressure: boolean;
  /** True while the host has less available than its reserve. */
  readonly reserveInDanger: boolean;
  /** True once it was told that the hypervisor refuses to have figures refreshed. */
  readonly toldRefusal: boolean;
  /** True while a guest lacks memory that others have yet to give. */
  readonly waiting: boolean;
  /** What the host had for guests at the last two samples of all of them, KiB (safety.ts). */
  readonly rooms: readonly [number, number];
}

export type HostState = 'ample' | 'contended' | 'overcommitted';

export const EMPTY_MODEL: Model = {
  at: Number.NEGATIVE_INFINITY,
  guests: [],
  numbers: new Float64Array(0),
  told: 'ample',
  state: 'ample',
  stateSince: Number.NEGATIVE_INFINITY,
  pressure: false,
  reserveInDanger: false,
  toldRefusal: false,
  waiting: false,
  rooms: [Number.NaN, Number.NaN],
};

/** Memory that the host must count on for a guest, without overhead (rule 3). */
export function charge(belief: Belief): number {
  // A guest can be paused while it boots.
  const booting = belief.phase === 'booting' || (belief.phase === 'paused' && belief.samples < 2);
  const blind = booting || Number.isNaN(belief.figuresAt);
  if (blind || belief.pinned || Number.isNaN(belief.actual)) return belief.maximum;
  return Math.max(belief.target, belief.actual);
}

/** What a guest's target can be lifted to and costs nothing: what it holds, if that was read in this sample. Since an earlier one it may have given some. */
export function surelyHeld(belief: Belief, at: number): number {
  return belief.actualAt === at ? charge(belief) : Math.min(belief.target, charge(belief));
}

/** Spare of the guest at its present balloon size, in its signal. */
export function spareNow(belief: Belief): number {
  return belief.actual - belief.used;
}

/** Figures of one guest in a sample, by the fields of sweep.ts. */
export type Figure = (field: number) => number;

// --- from rows.ts
/**
 * The layout of the model's numbers: what is believed of all guests, as one flat array.
 *
 * `Model.numbers` has WIDTH numbers for each guest, guest after guest in the order of the last sweep. A belief is a small object over
 * one row: its numbers are accessors (`belief.target` reads the row's place for `target`), and only what is no number stands in the
 * object itself.
 *
 * Why: every sample changes some numbers of every guest, and the model before must stay as it was, since the policy is pure. Copying an
 * object of that many doubles makes a heap number of each, 2.8 µs a guest and copy; copying all guests at once, as one array and an
 * object over each row, takes 0.1 µs a guest, and each step of a plan can then write to the copy (a draft).
 */

/** The numbers of a row in their order. {@link Belief} says what each is. */
const NUMBERS = [
  'floor',
  'ceiling',
  'share',
  'maximum',
  'actual',
  'missed',
  'stoodAt',
  'actualAt',
  'restingSince',
  'target',
  'orderedAt',
  'orderedFrom',
  'orderedTo',
  'original',
  'recalledAt',
  'refusedUntil',
  'refusedPause',
  'rss',
  'overhead',
  'unused',
  'usable',
  'available',
  'lastUpdate',
  'swapIn',
  'majorFault',
  'minorFault',
  'figuresAt',
  'takenAfter',
  'samples',
  'kernel',
  'kernelSeen',
  'size',
  'used',
  'trend',
  'speed',
  'reachable',
  'shrinkAfter',
  'pause',
  'windowActual',
  'windowAt',
  'shrunkAt',
  'shrunkFrom',
  'grownAt',
  'usualFaults',
  'paidAt',
  'cpu',
  'cpuAt',
  'cpuAtSweep',
  'cpuAtFigures',
  'busyAt',
  'activeSince',
  'rebootedAt',
  'adoptedToldAt',
  'effectiveFloor',
  'holds',
  'critical',
  'need',
  'allocation',
  'survivableBurst',
  'planned',
] as const;

/** Numbers per guest. */
const WIDTH = NUMBERS.length;

type Numbers = Record<(typeof NUMBERS)[number], number>;

/** One row of the array, with a pair of accessors for each name. */
class Cells {
  readonly #numbers: Float64Array;
  readonly #offset: number;

  constructor(numbers: Float64Array, row: number) {
    this.#numbers = numbers;
    this.#offset = row * WIDTH;
  }

  static {
    for (const [place, name] of NUMBERS.entries()) {
      Object.defineProperty(Cells.prototype, name, {
        get(this: Cells): number | undefined {
          return this.#numbers[this.#offset + place];
        },
        set(this: Cells, value: number) {
          this.#numbers[this.#offset + place] = value;
        },
      });
    }
  }
}

/** The same with its accessors in the type, which TypeScript does not see being made. */
const NumberCells = Cells as unknown as new (numbers: Float64Array, row: number) => Numbers;

/** What of a belief is no number. */
type Words = Omit<Belief, keyof Numbers>;

class Row extends NumberCells implements Draft {
  readonly uuid: string;
  readonly name: string;
  readonly id: number;
  phase: Draft['phase'];
  why: Draft['why'];
  signal: Draft['signal'];
  pinned: boolean;
  refusesRefresh: boolean;
  paired: boolean;
  rollback: Draft['rollback'];
  adopting: boolean;
  rising: boolean;
  lastReason: Draft['lastReason'];

  constructor(numbers: Float64Array, row: number, words: Words) {
    super(numbers, row);
    this.uuid = words.uuid;
    this.name = words.name;
    this.id = words.id;
    this.phase = words.phase;
    this.why = words.why;
    this.signal = words.signal;
    this.pinned = words.pinned;
    this.refusesRefresh = words.refusesRefresh;
    this.paired = words.paired;
    this.rollback = words.rollback;
    this.adopting = words.adopting;
    this.rising = words.rising;
    this.lastReason = words.lastReason;
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

  /** The next row is of a guest that was never seen before: nothing is believed of it, and that it may hold its maximum. */
  discover({ uuid, name, id }: GuestIdentity, context: GuestContext | undefined, at: number): Draft {
    const row = this.guests.length;
    this.numbers.fill(Number.NaN, row * WIDTH, (row + 1) * WIDTH);
    const draft = this.#add({
      uuid,
      name,
      id,
      phase: 'booting',
      why: null,
      signal: 'usable',
      pinned: false,
      refusesRefresh: false,
      paired: false,
      rollback: null,
      adopting: false,
      rising: false,
      lastReason: null,
    });
    draft.share = DEFAULT_SHARE;
    draft.maximum = context?.facts?.maximum ?? Number.NaN;
    draft.overhead = LEAST_OVERHEAD;
    draft.speed = BALLOON_SPEED;
    draft.pause = FIRST_PAUSE;
    draft.refusedPause = FIRST_REFUSED_PAUSE;
    draft.restingSince = draft.windowAt = draft.paidAt = at;
    draft.missed = draft.samples = draft.trend = draft.reachable = draft.usualFaults = 0;
    draft.orderedAt = draft.refusedUntil = draft.shrinkAfter = draft.shrunkAt = Number.NEGATIVE_INFINITY;
    draft.grownAt = draft.rebootedAt = draft.adoptedToldAt = draft.busyAt = draft.activeSince = draft.stoodAt = Number.NEGATIVE_INFINITY;
    return draft;
  }

  #add(words: Words): Draft {
    const draft = new Row(this.numbers, this.guests.length, words);
    this.guests.push(draft);
    return draft;
  }
}
