/** Reading a look, first part: where the balloon is, how it moves, and whether it does what it was asked. */
import { ACTUAL, RSS } from '../sweep.js';
import type { Belief, Figure, Rollback } from './belief.js';
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
import type { PolicyConfig } from './types.js';

/** The balloon: where it is, how it moved, and whether somebody else moved it. */
export function readBalloon(belief: Belief, figure: Figure, at: number, config: PolicyConfig): Belief {
  const actual = figure(ACTUAL);
  const rss = figure(RSS);
  const overhead = rss > 0 ? Math.max(LEAST_OVERHEAD, rss - actual) : belief.overhead;
  const moved = actual - belief.actual;
  const now: Belief = { ...belief, actual, rss, overhead, actualAt: at, restingSince: Math.abs(moved) <= SAME ? belief.restingSince : at };
  if (Number.isNaN(belief.actual)) return { ...now, target: actual, restingSince: at, windowActual: actual };
  const gap = belief.target - belief.actual;
  const astray = moved * gap <= 0 || Math.abs(moved) > Math.abs(gap) + SAME;
  // Soon after an order the balloon may still follow the one before; but neither leads it out of what lies between them.
  const bounds = [belief.target, belief.orderedFrom, belief.windowActual];
  const beyond = actual > Math.max(...bounds) + SAME || actual < Math.min(...bounds) - SAME;
  const unasked = Math.abs(moved) > SAME && (at - belief.orderedAt > ORDER_GRACE ? astray : beyond);
  // Rule 13. The boot of a guest moves its balloon too: nothing of ours is lost by following it.
  if (unasked) {
    const pause = at + ADOPTED_INTERVALS * config.intervalMs;
    return { ...now, target: actual, adopting: true, shrinkAfter: Math.max(belief.shrinkAfter, pause), windowActual: actual, windowAt: at };
  }
  return learnSpeed(now, belief, moved, gap, at);
}

/** Speed is learned only from a balloon that was seen on its way at both looks: one that arrived may have been faster. */
function learnSpeed(now: Belief, before: Belief, moved: number, gap: number, at: number): Belief {
  const under = Math.abs(moved) > SAME && Math.abs(moved) < Math.abs(gap) - SAME && before.windowActual !== before.actual;
  if (!under || !(at > before.actualAt)) return now;
  const seen = (Math.abs(moved) / (at - before.actualAt)) * 1000;
  return { ...now, speed: before.speed + 0.5 * (seen - before.speed) };
}

/** Rules 1 and 7: a shrink under way is watched; where it makes no progress its target goes back up. */
export function progress(belief: Belief, at: number): Belief {
  const gap = belief.target - belief.actual;
  if (Math.abs(gap) <= SAME) {
    // Pushed below where it could not go before: that floor is no more.
    const reachable = belief.actual < belief.reachable - SAME ? 0 : belief.reachable;
    return { ...belief, windowActual: belief.actual, windowAt: at, reachable };
  }
  // By the time of the readings: where none came nothing is known of the progress.
  if (belief.actualAt - belief.windowAt < PROGRESS_WINDOW) return belief;
  const come = gap < 0 ? belief.windowActual - belief.actual : belief.actual - belief.windowActual;
  if (come >= Math.min(LEAST_PROGRESS, Math.abs(gap))) return { ...belief, windowActual: belief.actual, windowAt: at };
  // A growth that does not come was ordered otherwise by somebody else, or is impossible. It stays charged until it is taken back.
  if (gap > 0) {
    return { ...belief, windowActual: belief.actual, windowAt: at, rollback: { reason: 'no-progress', to: belief.actual } };
  }
  const rollback: Rollback = { reason: 'no-progress', to: belief.actual };
  return { ...belief, ...setBack(belief, at), phase: 'stuck', reachable: belief.actual, rollback };
}

/** A rollback that came true, or whose pause is over, is no more. */
export function stillOpen(belief: Belief, rollback: Rollback, at: number): boolean {
  const down = belief.target > belief.actual && rollback.reason === 'no-progress';
  return down ? belief.target > rollback.to + SAME : belief.target < rollback.to && at < belief.shrinkAfter;
}

/** A failed shrink: none for a while, and for twice as long the next time. */
export function setBack(belief: Belief, at: number): Partial<Belief> {
  // A pause that ended long ago is forgotten.
  const pause = at - belief.shrinkAfter > belief.pause && Number.isFinite(belief.shrinkAfter) ? FIRST_PAUSE : belief.pause;
  return { shrinkAfter: at + pause, pause: Math.min(2 * pause, LAST_PAUSE) };
}
