/** After the moves: what became of them is noted in the model. */

import { openWindow } from './balloon.js';
import type { Draft, Model } from './belief.js';
import { FIRST_REFUSED_PAUSE, LAST_REFUSED_PAUSE } from './limits.js';
import { Drafts } from './rows.js';
import { PACE_WINDOW, pace } from './safety.js';
import type { Move } from './types.js';

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
