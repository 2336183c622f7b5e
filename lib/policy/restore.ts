/**
 * The way back: the same planning with another need, what each guest had before memcoord came. The rules hold as ever: donors first and
 * seen to arrive, growth within what the host really has, the least spare first, shrinks on fresh figures and in bounded steps.
 */

import { type Belief, criticalSpare, type Draft, isMovable, isSame } from './guest.js';
import { GIVE_MARGIN, PAGE, SAME } from './limits.js';
import type { Plan } from './plan.js';
import type { Move, Reason, Why } from './types.js';

/** Moves of an ordinary plan that save a guest: growth under pressure, and what is taken back of moves that went wrong. */
const RESCUES: ReadonlySet<Reason> = new Set(['relief', 'no-progress', 'thrashing', 'silent']);

/** What of a plan may not wait for the next coordinator. */
export function rescues({ moves }: Plan): readonly Move[] {
  return moves.filter(({ reason }) => RESCUES.has(reason));
}

/** Size that a guest is to have again; NaN where we never moved it. */
export function goalOf({ orderedAt, original, maximum }: Belief): number {
  return Number.isFinite(orderedAt) ? Math.min(original, maximum) : Number.NaN;
}

/** One that is to have more may get it without figures too: a guest that is silent or has not answered yet. */
export function isRestorable(belief: Belief): boolean {
  const { phase, actual, target } = belief;
  return isMovable(belief) || ((phase === 'silent' || phase === 'booting') && Number.isFinite(actual) && goalOf(belief) > target);
}

/** Sets what a guest needs to what it had, but never into its critical spare (rule 5). One that was never moved stays as it is. */
export function aim(draft: Draft): void {
  const goal = goalOf(draft);
  const least = isMovable(draft) ? draft.used + criticalSpare(draft) : 0;
  const size = Number.isNaN(goal) ? draft.target : Math.min(draft.maximum, Math.ceil(Math.max(goal, least) / PAGE) * PAGE);
  draft.ceiling = draft.maximum;
  draft.floor = 0;
  draft.critical = Math.min(least, size);
  draft.need = draft.want = size;
}

/** It has more than it is to have. Its figures must be fresh for that to change. */
export function isToGive(belief: Belief): boolean {
  return belief.target > goalOf(belief) + SAME;
}

/** True where a guest has what it is to have, or nothing is known of that. */
export function isRestored(belief: Belief): boolean {
  const goal = goalOf(belief);
  return Number.isNaN(goal) || (isSame(belief.actual, goal) && isSame(belief.target, goal));
}

/** Why a guest has not got what it had. */
export type NotRestored = Why | 'never-moved' | 'on-its-way' | 'no-room' | 'in-use' | 'no-figures';

/** What became of a guest on the way back. Sizes KiB. */
export interface Fate {
  readonly uuid: string;
  readonly name: string;
  /** What it has now; in a dry run what it would have. NaN = not known. */
  readonly size: number;
  /** What it had before memcoord came; NaN where memcoord has not moved it, or nobody knows. */
  readonly original: number;
  readonly used: number;
  /** null where it has what it had. */
  readonly why: NotRestored | null;
}

/**
 * What became of a guest after a plan with the purpose `restore`.
 *
 * @param forecast what would become of it, were all done that the plan allows
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
