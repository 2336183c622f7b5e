/**
 * The way back: the same planning with another need, what each guest had before memcoord came. All rules still hold: donors first and seen
 * to arrive, growth within what the host really has, the least spare first, shrinks only on fresh figures and in bounded steps.
 */

import { type Belief, criticalSpare, type Draft, isMovable, isSame } from './guest.js';
import { GIVE_MARGIN, PAGE, SAME } from './limits.js';
import type { Plan } from './plan.js';
import type { Move, Reason, Why } from './types.js';

/** Moves of an ordinary plan that save a guest: growth under pressure, and rollbacks of moves that went wrong. */
const RESCUES: ReadonlySet<Reason> = new Set(['relief', 'no-progress', 'thrashing', 'silent']);

/** The moves of a plan that cannot wait for the next coordinator. */
export function rescues({ moves }: Plan): readonly Move[] {
  return moves.filter(({ reason }) => RESCUES.has(reason));
}

/** Size that a guest should return to; NaN if memcoord never moved it. */
export function goalOf({ orderedAt, original, maximum }: Belief): number {
  return Number.isFinite(orderedAt) ? Math.min(original, maximum) : Number.NaN;
}

/** A guest that should get more can be restored without figures too, while it is silent or has not answered yet. */
export function isRestorable(belief: Belief): boolean {
  const { phase, actual, target } = belief;
  return isMovable(belief) || ((phase === 'silent' || phase === 'booting') && Number.isFinite(actual) && goalOf(belief) > target);
}

/** Sets a guest's need to what it had, but never into its critical spare (rule 5). A guest that was never moved keeps its target. */
export function aim(draft: Draft): void {
  const goal = goalOf(draft);
  const least = isMovable(draft) ? draft.used + criticalSpare(draft) : 0;
  const size = Number.isNaN(goal) ? draft.target : Math.min(draft.maximum, Math.ceil(Math.max(goal, least) / PAGE) * PAGE);
  draft.ceiling = draft.maximum;
  draft.floor = 0;
  draft.critical = Math.min(least, size);
  draft.need = draft.want = size;
}

/** True if the guest has more than it had. Its figures must be fresh before it can be shrunk. */
export function isToGive(belief: Belief): boolean {
  return belief.target > goalOf(belief) + SAME;
}

/** True if the guest has what it had, or if nothing is known of that. */
export function isRestored(belief: Belief): boolean {
  const goal = goalOf(belief);
  return Number.isNaN(goal) || (isSame(belief.actual, goal) && isSame(belief.target, goal));
}

/** Why a guest does not have what it had. */
export type NotRestored = Why | 'never-moved' | 'on-its-way' | 'no-room' | 'in-use' | 'no-figures';

/** What became of a guest on the way back. Sizes KiB. */
export interface Fate {
  readonly uuid: string;
  readonly name: string;
  /** What it has now, or in a dry run what it would have. NaN = not known. */
  readonly size: number;
  /** What it had before memcoord came; NaN if memcoord never moved it, or if the size is not known. */
  readonly original: number;
  readonly used: number;
  /** null = it has what it had. */
  readonly why: NotRestored | null;
}

/**
 * What became of a guest after a plan with the purpose `restore`.
 *
 * @param forecast report what would become of it if all that the plan allows were done
 */
export function fateOf(belief: Belief, forecast: boolean): Fate {
  const { uuid, name, actual, used, allocation } = belief;
  const size = forecast && !Number.isNaN(allocation) && !Number.isNaN(goalOf(belief)) ? allocation : actual;
  return { uuid, name, size, original: goalOf(belief), used, why: whyNot(belief, size) };
}

function whyNot(belief: Belief, size: number): NotRestored | null {
  const { phase, why, target, need } = belief;
  const goal = goalOf(belief);
  if (Number.isNaN(goal)) return phase === 'excluded' && why !== null ? why : 'never-moved';
  if (isSame(size, goal)) return null;
  if (phase === 'excluded' || phase === 'paused') return why;
  if (size < goal - SAME) return target > size + SAME ? 'on-its-way' : 'no-room';
  if (phase !== 'steady') return why ?? 'no-figures';
  return size <= need + GIVE_MARGIN ? 'in-use' : 'on-its-way';
}
