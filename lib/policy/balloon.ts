/** Reading a sample, first part: where the balloon is, how it moves, and whether it does what it was asked. */
import { ACTUAL, RSS } from '../sweep.js';
import type { Belief, Draft, Figure, Rollback } from './belief.js';
import {
  ADOPTED_INTERVALS,
  FIRST_PAUSE,
  LAST_PAUSE,
  LEAST_OVERHEAD,
  LEAST_PROGRESS,
  ORDER_GRACE,
  PROGRESS_WINDOW,
  SAME,
} from './limits.js';
import { recall } from './memory.js';
import type { PolicyConfig, Remembered } from './types.js';

/** The balloon: where it is, how it moved, and whether somebody else moved it. */
export function readBalloon(draft: Draft, figure: Figure, at: number, config: PolicyConfig, remembered: Remembered | undefined): void {
  const { actual: before, actualAt: readBefore, target } = draft;
  // The guest tells it, and nobody checks: more than its maximum would be charged to all others.
  const actual = figure(ACTUAL) > draft.maximum ? draft.maximum : figure(ACTUAL);
  const rss = figure(RSS);
  draft.actual = actual;
  draft.actualAt = at;
  draft.rss = rss;
  if (rss > 0) draft.overhead = Math.max(LEAST_OVERHEAD, rss - actual);
  const moved = actual - before;
  draft.rising = false;
  if (Math.abs(moved) <= SAME) return;
  draft.restingSince = at;
  if (Number.isNaN(before)) {
    draft.windowActual = actual;
    recall(draft, remembered, at);
    return;
  }
  const gap = target - before;
  const astray = moved * gap <= 0 || Math.abs(moved) > Math.abs(gap) + SAME;
  // Soon after an order the balloon may still follow the one before; but neither leads it out of what lies between them.
  const { orderedFrom, windowActual } = draft;
  const beyond = actual > Math.max(target, orderedFrom, windowActual) + SAME || actual < Math.min(target, orderedFrom, windowActual) - SAME;
  if (at - draft.orderedAt > ORDER_GRACE ? astray : beyond) {
    // Rule 13. The boot of a guest moves its balloon too: nothing of ours is lost by following it.
    draft.target = draft.windowActual = actual;
    draft.windowAt = at;
    draft.adopting = true;
    draft.rising = moved > 0;
    draft.shrinkAfter = Math.max(draft.shrinkAfter, at + ADOPTED_INTERVALS * config.intervalMs);
    return;
  }
  // Speed is learned only from a balloon that was seen on its way at both samples: one that arrived may have been faster.
  const under = Math.abs(moved) < Math.abs(gap) - SAME && windowActual !== before;
  if (under && at > readBefore) draft.speed += 0.5 * ((Math.abs(moved) / (at - readBefore)) * 1000 - draft.speed);
}

/** Rules 1 and 7: a shrink under way is watched; where it makes no progress its target goes back up. */
export function progress(draft: Draft, at: number): void {
  const { actual, windowActual } = draft;
  const gap = draft.target - actual;
  if (Math.abs(gap) <= SAME) {
    // Pushed below where it could not go before: that floor is no more.
    if (actual < draft.reachable - SAME) draft.reachable = 0;
  } else {
    // By the time of the readings: where none came nothing is known of the progress.
    if (draft.actualAt - draft.windowAt < PROGRESS_WINDOW) return;
    const come = gap < 0 ? windowActual - actual : actual - windowActual;
    if (come < Math.min(LEAST_PROGRESS, Math.abs(gap))) {
      draft.rollback = { reason: 'no-progress', to: actual };
      if (gap < 0) {
        setBack(draft, at);
        draft.phase = 'stuck';
        draft.reachable = actual;
        return;
      }
      // A growth that does not come was ordered otherwise by somebody else, or is impossible. It stays charged until it is taken back.
    }
  }
  openWindow(draft, at);
}

/** Progress is watched from here on. */
export function openWindow(draft: Draft, at: number): void {
  draft.windowActual = draft.actual;
  draft.windowAt = at;
}

/** A rollback that came true, or whose pause is over, is no more. */
export function stillOpen(belief: Belief, rollback: Rollback, at: number): boolean {
  const down = belief.target > belief.actual && rollback.reason === 'no-progress';
  return down ? belief.target > rollback.to + SAME : belief.target < rollback.to && at < belief.shrinkAfter;
}

/** A failed shrink: none for a while, and for twice as long the next time. */
export function setBack(draft: Draft, at: number): void {
  const { pause, shrinkAfter } = draft;
  // A pause that ended long ago is forgotten.
  const due = at - shrinkAfter > pause && Number.isFinite(shrinkAfter) ? FIRST_PAUSE : pause;
  draft.shrinkAfter = at + due;
  draft.pause = Math.min(2 * due, LAST_PAUSE);
}
