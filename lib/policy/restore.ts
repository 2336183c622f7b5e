/** The way back: every guest gets what it had before memcoord came, as far as host and guest can honour that. */
import { formatSize } from '../common/units.js';
import { type Account, allowance, movable, readyToShrink } from './decide.js';
import { criticalSpare } from './demand.js';
import { type Belief, charge, spareNow } from './guest.js';
import { CRITICAL_SPARE, GIVE_MARGIN, PAGE, SAME } from './limits.js';
import type { Plan } from './plan.js';
import type { Move, PolicyConfig, Reason, Sample } from './types.js';

/** What became of a guest on the way back. Sizes KiB. */
export interface Restored {
  readonly uuid: string;
  readonly name: string;
  /** What it has now; in a dry run what it would have. NaN = not known. */
  readonly size: number;
  /** What it had before memcoord came; NaN where memcoord has not moved it, or nobody knows. */
  readonly original: number;
  /** Why it has something else; null where it has what it had. */
  readonly why: string | null;
}

/** Moves of an ordinary plan that save a guest: growth under pressure, and what is taken back of moves that went wrong. */
const RESCUES: ReadonlySet<Reason> = new Set(['relief', 'no-progress', 'thrashing', 'silent']);

/** What of a plan may not wait for the next coordinator. */
export function rescues({ moves }: Plan): readonly Move[] {
  return moves.filter(({ reason }) => RESCUES.has(reason));
}

/** Size that a guest is to have again; NaN where we never moved it. */
function goal({ orderedAt, original, maximum }: Belief): number {
  return Number.isFinite(orderedAt) ? Math.min(original, maximum) : Number.NaN;
}

/** Size that it is brought to: what it had, but never into its critical spare (rule 5). */
function aim(belief: Belief): number {
  if (!movable(belief)) return goal(belief);
  return Math.min(belief.maximum, Math.ceil(Math.max(goal(belief), belief.used + criticalSpare(belief)) / PAGE) * PAGE);
}

/** It has more than it is to have. Its figures must be fresh for that to change. */
export function isToGive(belief: Belief): boolean {
  return belief.target > goal(belief) + SAME;
}

/**
 * The moves of one sample on the way back. The rules hold as ever: donors first and seen to arrive, growth within the capacity, the least
 * spare first; shrinks on fresh figures and in bounded steps. What goes wrong is taken back.
 */
export function restoring(made: Plan, sample: Sample, config: PolicyConfig): readonly Move[] {
  const saved = made.moves.filter(({ reason }) => RESCUES.has(reason) && reason !== 'relief');
  const busy = new Set(saved.map(({ uuid }) => uuid));
  const guests = made.model.guests.filter((belief) => !busy.has(belief.uuid) && sample.at >= belief.refusedUntil);
  const moves = [...saved];
  for (const belief of guests) {
    if (!isToGive(belief) || !movable(belief)) continue;
    if (!readyToShrink(belief, sample, sample.contexts.get(belief.uuid), config)) continue;
    const spare = belief.target - aim(belief);
    const taken = Math.min(spare, allowance(belief, true, sample.at), spareNow(belief) / 2);
    // No crumbs but the last one: a guest that is squeezed lets go of its cache, and needs a little less each time.
    const worth = aim(belief) - goal(belief) < PAGE ? PAGE : GIVE_MARGIN;
    if (spare >= worth && taken >= Math.min(spare, 4 * SAME)) moves.push(move(belief, belief.target - taken));
  }
  let budget = made.account.capacity - made.account.charged;
  for (const { uuid, to } of saved) {
    const belief = made.model.guests.find((each) => each.uuid === uuid);
    if (belief !== undefined) budget -= Math.max(0, to - charge(belief));
  }
  for (const belief of guests.filter(canGrow).sort((a, b) => spareNow(a) - spareNow(b))) {
    // A guest that is charged its maximum costs nothing more, unless the charges are over the capacity.
    const to = budget < 0 ? Math.min(aim(belief), belief.actual) : Math.min(aim(belief), charge(belief) + budget);
    if (to - belief.target < SAME) continue;
    budget -= Math.max(0, to - charge(belief));
    moves.push(move(belief, to));
  }
  return moves;
}

/** Growth needs no figures, so a guest that is silent or has not answered yet may get it. */
function canGrow(belief: Belief): boolean {
  const { phase, target } = belief;
  return aim(belief) - target >= SAME && phase !== 'paused' && phase !== 'excluded';
}

function move(belief: Belief, size: number): Move {
  const { uuid, name, target, actual, used, need, allocation } = belief;
  const to = Math.floor(size / PAGE) * PAGE;
  return { uuid, name, from: target, to, reason: 'restore', actual, used, spare: spareNow(belief), need, allocation };
}

/** True where a guest has what it is to have, or nothing is known of that. */
export function isRestored(belief: Belief): boolean {
  return !(Math.abs(belief.actual - goal(belief)) > SAME) && !(Math.abs(belief.target - goal(belief)) > SAME);
}

/** What became of the guests. */
export function restored(guests: readonly Belief[], books: Account): Restored[] {
  return guests.map((belief) => {
    const { uuid, name, actual } = belief;
    return { uuid, name, size: actual, original: goal(belief), why: whyNot(belief, actual, books) };
  });
}

/** What would become of them, were all that can be done. */
export function forecast(guests: readonly Belief[], books: Account): Restored[] {
  const sizes = new Map<string, number>();
  let budget = books.capacity - books.charged;
  for (const belief of guests) {
    if (!isToGive(belief) || !movable(belief)) continue;
    const size = Math.min(belief.actual, aim(belief));
    sizes.set(belief.uuid, size);
    budget += charge(belief) - size;
  }
  for (const belief of guests.filter(canGrow).sort((a, b) => spareNow(a) - spareNow(b))) {
    const size = Math.max(belief.actual, Math.min(aim(belief), charge(belief) + Math.max(0, budget)));
    sizes.set(belief.uuid, size);
    budget -= Math.max(0, size - charge(belief));
  }
  return guests.map((belief) => {
    const { uuid, name, actual } = belief;
    const size = sizes.get(uuid) ?? actual;
    return { uuid, name, size, original: goal(belief), why: whyNot(belief, size, books) };
  });
}

function whyNot(belief: Belief, size: number, books: Account): string | null {
  const wanted = goal(belief);
  const { phase, why, used, target } = belief;
  if (Number.isNaN(wanted)) return phase === 'excluded' ? why : 'memcoord has not moved it, as far as is known';
  if (Math.abs(size - wanted) <= SAME) return null;
  if (phase === 'excluded' || phase === 'paused') return why;
  if (size < aim(belief) - SAME) {
    if (target > size + SAME) return 'its balloon has not come to where it was sent';
    return `the host can spare no more: ${formatSize(Math.max(0, books.capacity - books.charged))} above its reserve of ${formatSize(books.reserve)}`;
  }
  if (phase !== 'steady') return why ?? 'its figures are not known yet';
  if (size <= aim(belief) + GIVE_MARGIN) return `it uses ${formatSize(used)}, and ${formatSize(CRITICAL_SPARE)} to spare are left to it`;
  return 'its balloon has not come to where it was sent';
}
