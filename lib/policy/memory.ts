/** What outlives the process of what is believed of a guest, and how far the next one trusts it (rule 12). */
import type { Belief, Draft } from './belief.js';
import { FIRST_PAUSE, LAST_PAUSE, SAME, UNDER_WAY } from './limits.js';
import type { Remembered } from './types.js';

/** What is worth remembering of a guest; null where it is not known yet what it had before us. */
export function remember(belief: Belief): Remembered | null {
  const { original, target, orderedAt, speed, phase, reachable, shrinkAfter, pause } = belief;
  if (!Number.isFinite(original) || !Number.isFinite(target)) return null;
  return {
    original,
    target,
    orderedAt: Math.max(0, orderedAt),
    speed,
    reachable: phase === 'stuck' ? reachable : 0,
    shrinkAfter: Math.max(0, shrinkAfter),
    pause,
  };
}

/**
 * Takes over, at the first reading of a guest's balloon, what a coordinator before us left behind of the same start of the guest. It
 * comes out of a file, so nothing in it is believed that contradicts the balloon or the guest's bounds:
 *
 * - A move that was ordered a moment ago may be under way: its target holds, so that a growth is charged before it comes (rule 3), and
 *   a shrink is not taken for somebody else's move (rule 13).
 * - If the last order is older and the balloon is somewhere else, somebody set it meanwhile. Then the larger size is what the guest had
 *   before us: what was its due is never guessed downwards. A growth that has not come stays charged until it is seen not to come.
 */
export function recall(draft: Draft, remembered: Remembered | undefined, at: number): void {
  const { actual, floor, maximum } = draft;
  draft.target = actual;
  if (remembered === undefined) return;
  draft.recalledAt = at;
  const { orderedAt, reachable } = remembered;
  const target = Math.min(maximum, Math.max(remembered.target, Math.min(floor, actual)));
  const original = Math.min(maximum, remembered.original);
  const ours = Math.abs(target - actual) <= SAME || (orderedAt > 0 && Math.abs(at - orderedAt) <= UNDER_WAY);
  draft.target = ours ? target : Math.max(target, actual);
  draft.original = ours ? original : Math.max(original, actual);
  if (orderedAt > 0) {
    draft.orderedAt = Math.min(at, orderedAt);
    draft.orderedTo = target;
  }
  // No balloon moves by more than the whole guest in a second.
  draft.speed = Math.min(maximum, remembered.speed);
  draft.reachable = reachable <= actual + SAME ? reachable : 0;
  draft.shrinkAfter = Math.min(at + LAST_PAUSE, remembered.shrinkAfter);
  draft.pause = Math.min(LAST_PAUSE, Math.max(FIRST_PAUSE, remembered.pause));
}
