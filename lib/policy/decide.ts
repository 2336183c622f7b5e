/** Step 3: what may be done of it now. The rules of docs/ballooning.md are kept here and in balloon.ts and figures.ts, each named in its place. */
import { amountOf } from '../common/units.js';
import { NOT_ASKED, STATUS, STRIDE } from '../sweep.js';
import { column, fill, sum } from './allocate.js';
import { criticalSpare } from './demand.js';
import { openWindow } from './estimate.js';
import { type Belief, charge, type Draft, Drafts, type Model, spareNow, surelyHeld } from './guest.js';
import {
  BRISK_RATE,
  DEFAULT_RESERVE,
  FIRST_REFUSED_PAUSE,
  GENTLE_RATE,
  GIVE_MARGIN,
  GROW_BAND,
  LAST_REFUSED_PAUSE,
  LEAST_RESERVE,
  LEAST_SPARE,
  PACE_FRACTION,
  RELIEF_FRACTION,
  RELIEF_STEP,
  RESERVE_FRACTION,
  SAME,
} from './limits.js';
import type { GuestContext, Move, PolicyConfig, Sample } from './types.js';

/** The host's account, KiB. */
export interface Account {
  readonly reserve: number;
  /** Sum of the guests' overheads. */
  readonly overhead: number;
  /** What the guests' balloons may add up to. */
  readonly capacity: number;
  /** What the host had for guests at the last two samples of all of them, the later one first. */
  readonly rooms: readonly [number, number];
  /** Sum of the charges, overhead aside. */
  readonly charged: number;
}

/**
 * Rules 3 and 4. What the guests may hold: what they hold now and what is available, less reserve and overheads, and no more than
 * the pool.
 *
 * Both must be of the same moment: what a balloon has given since its guest was read would count twice. So only a sample of all guests
 * tells, and of two in a row the one that says less is believed.
 *
 * @param before what the last two such samples have told
 */
export function account(guests: readonly Belief[], sample: Sample, config: PolicyConfig, before: Account['rooms']): Account {
  const { total, available } = sample.host;
  const reserve = Math.max(
    LEAST_RESERVE,
    config.reserve === null ? Math.max(total * RESERVE_FRACTION, DEFAULT_RESERVE) : amountOf(config.reserve, total),
  );
  let held = 0;
  let overhead = 0;
  let charged = 0;
  for (const guest of guests) {
    held += guest.rss > 0 ? guest.rss : guest.actual || 0;
    overhead += guest.overhead;
    charged += charge(guest) || 0;
  }
  const room = Math.max(0, held + available - reserve - overhead);
  const [last] = before;
  const rooms: Account['rooms'] = Number.isNaN(last) ? [room, room] : isWhole(sample) ? [room, last] : before;
  return {
    reserve,
    overhead,
    charged,
    capacity: Math.min(config.pool === null ? Number.POSITIVE_INFINITY : amountOf(config.pool, total), ...rooms),
    rooms,
  };
}

function isWhole({ sweep: { figures } }: Sample): boolean {
  for (let at = STATUS; at < figures.length; at += STRIDE) if (figures[at] === NOT_ASKED) return false;
  return true;
}

/** Rule 9 and the phases: only a guest that runs, answers and may be coordinated is moved. */
export function movable(belief: Belief): boolean {
  return (belief.phase === 'steady' || belief.phase === 'stuck') && Number.isFinite(belief.used) && Number.isFinite(belief.actual);
}

/** Memory kept back for relief while guests shrink that may come to need it (rule 7 puts targets back up out of it). */
export function reliefFund(shrinking: readonly Belief[], capacity: number): number {
  const near = shrinking.filter(({ target, actual, used }) => target < actual - SAME && target - used < LEAST_SPARE);
  return Math.min(near.length * RELIEF_STEP, capacity * RELIEF_FRACTION);
}

/** Rule 8: what a guest's present target leaves it is less than its critical spare. Told by policy and target, not by `actual`. */
export function needsRelief(belief: Belief, target = belief.target): boolean {
  return target < belief.critical - SAME && belief.allocation > target;
}

/** A guest lacks enough of its part, `band` or more, to be grown. */
export function lacking(belief: Belief, target = belief.target, band = GROW_BAND): boolean {
  const gap = belief.allocation - target;
  // The last step to the ceiling is taken however small: there will be no larger one.
  return gap >= band || (gap > 0 && belief.allocation >= Math.floor(belief.ceiling)) || needsRelief(belief, target);
}

/**
 * Rule 2: growth is paid out of memory that has come back. `budget` is shared out by least spare first, nobody past its part.
 *
 * @param guests those that are lacking
 * @param at time of the sample
 * @returns new targets, KiB, in the order of the guests
 */
export function growth(guests: readonly Belief[], budget: number, at: number): Float64Array {
  const base = column(guests, ({ used }) => Math.max(0, used));
  const share = column(guests, (belief) => belief.share);
  const lower = column(guests, (belief) => surelyHeld(belief, at));
  const upper = column(guests, (belief) => Math.max(surelyHeld(belief, at), belief.allocation));
  const filled = fill({ base, share, lower, upper }, sum(lower) + Math.max(0, budget));
  // What it holds already costs nothing: a target under `actual` is lifted to it for free.
  return column(guests, ({ target, allocation }, i) => Math.max(target, Math.min(allocation, filled[i] ?? target)));
}

/** Pace of taking from a guest, KiB/s. */
export function pace(belief: Belief, brisk: boolean): number {
  const rate = brisk ? BRISK_RATE : GENTLE_RATE;
  return Math.max(rate, Math.min(belief.maximum * PACE_FRACTION, belief.speed / 2));
}

/** What may be taken at once is what the pace allows in this time, ms. */
export const PACE_WINDOW = 1000;

/** What may be taken from a guest at `at`, KiB. */
export function allowance(belief: Belief, brisk: boolean, at: number): number {
  return (pace(belief, brisk) * Math.min(PACE_WINDOW, Math.max(0, at - belief.paidAt))) / 1000;
}

/** Rule 6: figures that are fresh, of the size that the balloon has now, and newer than the last order, which has come true. */
export function readyToShrink(belief: Belief, sample: Sample, context: GuestContext | undefined, config: PolicyConfig): boolean {
  const period = (context?.statsPeriod ?? 0) * 1000;
  const fresh = sample.at - belief.figuresAt <= 2 * Math.max(period, config.intervalMs) + 1000;
  const { actual, target, size } = belief;
  const settled = Math.abs(actual - target) <= SAME && Math.abs(actual - size) <= SAME && belief.figuresAt > belief.orderedAt;
  return belief.phase === 'steady' && fresh && settled && belief.paired && sample.at >= belief.shrinkAfter && belief.rollback === null;
}

/**
 * What is taken from a guest that holds more than its part, KiB; 0 where nothing is, or less than is worth a call.
 *
 * Rules 5 (never under floor, which the part is above, nor critical spare, which a ceiling may be under), 7 (bounded steps: the pace,
 * and never more than half of the spare) and 14 (least move). `most` is what may be taken at all in this sample.
 */
export function step(belief: Belief, brisk: boolean, at: number, most: number): number {
  const excess = belief.target - belief.allocation;
  if (brisk ? excess < SAME : excess <= 2 * GIVE_MARGIN) return 0;
  const spare = spareNow(belief);
  const taken = Math.min(
    brisk ? excess : excess - GIVE_MARGIN,
    most,
    allowance(belief, brisk, at),
    spare / 2,
    spare - criticalSpare(belief),
  );
  return taken < (brisk ? SAME : Math.min(GIVE_MARGIN, Math.max(SAME, spare / 2))) ? 0 : taken;
}

// --- from orders.ts
/** After the moves: what became of them is noted in the model. */

/** What became of a move. */
export interface Order {
  readonly move: Move;
  /** `unknown`: the call timed out, and the higher charge is kept until a sample tells (rule 11). */
  readonly outcome: 'stored' | 'failed' | 'unknown';
}

/** Notes in the model what became of the moves of a plan. */
export function ordered(model: Model, orders: readonly Order[], at: number): Model {
  if (orders.length === 0) return model;
  const byGuest = new Map(orders.map((order) => [order.move.uuid, order]));
  const drafts = new Drafts(model, model.guests.length);
  model.guests.forEach(({ uuid }, row) => {
    const draft = drafts.keep(row);
    const order = byGuest.get(uuid);
    if (order !== undefined) note(draft, order, at);
  });
  return { ...model, guests: drafts.guests, numbers: drafts.numbers };
}

function note(draft: Draft, { move, outcome }: Order, at: number): void {
  if (outcome === 'failed') {
    draft.refusedUntil = at + draft.refusedPause;
    draft.refusedPause = Math.min(2 * draft.refusedPause, LAST_REFUSED_PAUSE);
    return;
  }
  draft.target = outcome === 'unknown' ? Math.max(move.from, move.to) : move.to;
  draft.orderedAt = at;
  draft.orderedFrom = move.from;
  draft.orderedTo = move.to;
  draft.refusedPause = FIRST_REFUSED_PAUSE;
  openWindow(draft, at);
  draft.rollback = null;
  draft.lastReason = move.reason;
  if (move.to >= move.from) {
    draft.grownAt = at;
    return;
  }
  // A growth that is taken back takes nothing from the guest.
  if (move.reason === 'no-progress') return;
  const taken = Math.max(0, Math.min(draft.actual, move.from) - move.to);
  draft.paidAt = Math.max(draft.paidAt, at - PACE_WINDOW) + (taken / pace(draft, move.reason !== 'give')) * 1000;
  draft.shrunkAt = at;
  draft.shrunkFrom = move.from;
}
