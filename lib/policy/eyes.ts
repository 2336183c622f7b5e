/** When to look next, and at whom: faster eyes go where spare is too little for the time until the next sweep. */

import type { Belief, Model } from './belief.js';
import { spareNow } from './belief.js';
import { lookInterval, reactionTime } from './demand.js';
import { BALLOON_LATENCY, LOOK_COST, SAME } from './limits.js';
import { movable } from './safety.js';
import type { GuestContext, PolicyConfig } from './types.js';
import { column } from './water.js';

export interface NextLook {
  /** Time until the look, ms. */
  readonly inMs: number;
  /** Guests to be read then by forced refresh, most endangered first, by uuid. */
  readonly guests: readonly string[];
  /** Guests to be refreshed at the next sweep: they were moved and have not answered since, and nothing goes on before they do (rule 6). */
  readonly settling: readonly string[];
}

/**
 * A guest is at risk where its spare does not cover the assumed burst (or its trend) until the next sweep would have been acted on.
 * Those are looked at as often as the budget allows; if it does not allow for all, the most endangered come first.
 *
 * What somebody waits for is looked for as soon as it can have come, once for each order, so that it is passed on at once.
 */
export function nextLook(model: Model, contexts: ReadonlyMap<string, GuestContext>, config: PolicyConfig): NextLook {
  const { intervalMs } = config;
  const lasts = (belief: Belief) => (spareNow(belief) / Math.max(belief.trend, config.burstKiBs)) * 1000;
  const risks: Belief[] = [];
  const moved: Belief[] = [];
  const coming: Belief[] = [];
  for (const belief of model.guests) {
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (!movable(belief) || period === 0) continue;
    if (model.waiting && belief.orderedAt >= model.at && belief.target < belief.actual - SAME) coming.push(belief);
    if (belief.actual < belief.ceiling && lasts(belief) < reactionTime(intervalMs, period, config)) risks.push(belief);
    else if (belief.orderedAt >= belief.figuresAt) moved.push(belief);
  }
  // Guests that may be looked at in an interval, once each; two looks an interval are at half as many.
  const most = Math.floor((intervalMs * config.eyes) / LOOK_COST);
  const half = Math.max(1, Math.floor(most / 2));
  if (coming.length > 0 && most > 0) {
    const guests = [...new Set([...coming, ...least(risks, lasts, half)])].slice(0, half);
    return { inMs: Math.min(BALLOON_LATENCY, intervalMs), guests: guests.map(uuidOf), settling: [] };
  }
  const settling = moved.slice(0, most).map(uuidOf);
  if (risks.length === 0 || most === 0) return { inMs: intervalMs, guests: [], settling };
  const inMs = lookInterval(risks.length + settling.length, config);
  if (inMs < intervalMs) return { inMs, guests: least(risks, lasts, risks.length).map(uuidOf), settling };
  return { inMs: intervalMs / 2, guests: least(risks, lasts, half).map(uuidOf), settling };
}

/** The `count` guests of which `of` is least, in its order. Not all are sorted: they may be thousands, and the count a few. */
function least(guests: readonly Belief[], of: (belief: Belief) => number, count: number): Belief[] {
  const most = column(guests, of).sort()[count - 1] ?? Number.POSITIVE_INFINITY;
  return guests
    .filter((belief) => of(belief) <= most)
    .sort((a, b) => of(a) - of(b))
    .slice(0, count);
}

function uuidOf({ uuid }: Belief): string {
  return uuid;
}
