/** After the moves: what became of them is noted in the model. */
import type { Belief, Model } from './model.js';
import { PACE_WINDOW, pace } from './safety.js';
import type { Move } from './types.js';

/**
 * Notes that a move was stored, refused (`failed`), or that nobody knows (`unknown`: the call timed out, and the higher charge is
 * kept until a look tells: rule 11).
 */
export function ordered(model: Model, move: Move, at: number, outcome: 'stored' | 'failed' | 'unknown'): Model {
  if (outcome === 'failed') return model;
  return { ...model, guests: model.guests.map((belief) => (belief.uuid === move.uuid ? order(belief, move, at, outcome) : belief)) };
}

function order(belief: Belief, move: Move, at: number, outcome: 'stored' | 'unknown'): Belief {
  const target = outcome === 'unknown' ? Math.max(move.from, move.to) : move.to;
  const common = { ...belief, target, orderedAt: at, windowActual: belief.actual, windowAt: at, rollback: null, lastReason: move.reason };
  if (move.to >= move.from) return { ...common, grownAt: at };
  const taken = Math.max(0, Math.min(belief.actual, move.from) - move.to);
  const paidAt = Math.max(belief.paidAt, at - PACE_WINDOW) + (taken / pace(belief, move.reason !== 'give')) * 1000;
  return { ...common, shrunkAt: at, shrunkFrom: move.from, paidAt };
}
