/** After the moves: what became of them is noted in the model. */

import type { Belief, Model } from './belief.js';
import { FIRST_REFUSED_PAUSE, LAST_REFUSED_PAUSE } from './limits.js';
import { PACE_WINDOW, pace } from './safety.js';
import type { Move } from './types.js';

/**
 * Notes that a move was stored, refused (`failed`), or that nobody knows (`unknown`: the call timed out, and the higher charge is
 * kept until a look tells: rule 11).
 */
export function ordered(model: Model, move: Move, at: number, outcome: 'stored' | 'failed' | 'unknown'): Model {
  return { ...model, guests: model.guests.map((belief) => (belief.uuid === move.uuid ? order(belief, move, at, outcome) : belief)) };
}

function order(belief: Belief, move: Move, at: number, outcome: 'stored' | 'failed' | 'unknown'): Belief {
  if (outcome === 'failed') {
    const pause = Math.min(2 * belief.refusedPause, LAST_REFUSED_PAUSE);
    return { ...belief, refusedUntil: at + belief.refusedPause, refusedPause: pause };
  }
  const target = outcome === 'unknown' ? Math.max(move.from, move.to) : move.to;
  const common = {
    ...belief,
    target,
    orderedAt: at,
    orderedFrom: move.from,
    refusedPause: FIRST_REFUSED_PAUSE,
    windowActual: belief.actual,
    windowAt: at,
    rollback: null,
    lastReason: move.reason,
  };
  if (move.to >= move.from) return { ...common, grownAt: at };
  // A growth that is taken back takes nothing from the guest.
  if (move.reason === 'no-progress') return common;
  const taken = Math.max(0, Math.min(belief.actual, move.from) - move.to);
  const paidAt = Math.max(belief.paidAt, at - PACE_WINDOW) + (taken / pace(belief, move.reason !== 'give')) * 1000;
  return { ...common, shrunkAt: at, shrunkFrom: move.from, paidAt };
}
