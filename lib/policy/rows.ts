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
import type { GuestIdentity } from '../sweep.js';
import type { Belief, Draft, Model } from './belief.js';
import { BALLOON_SPEED, DEFAULT_SHARE, FIRST_PAUSE, FIRST_REFUSED_PAUSE, LEAST_OVERHEAD } from './limits.js';
import type { GuestContext } from './types.js';

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
