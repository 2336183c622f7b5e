/** When to look next, and at whom: faster eyes go where spare is too little for the time until the next sweep. */

import type { Model } from './belief.js';
import { spareNow } from './belief.js';
import { lookInterval, reactionTime } from './demand.js';
import { BALLOON_LATENCY, LOOK_COST, SAME } from './limits.js';
import { movable } from './safety.js';
import type { GuestContext, PolicyConfig } from './types.js';

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
  const risks: { uuid: string; time: number }[] = [];
  const moved: string[] = [];
  // Guests that may be looked at in an interval, once each.
  const most = Math.floor((config.intervalMs * config.eyes) / LOOK_COST);
  const coming: string[] = [];
  for (const belief of model.guests) {
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (!movable(belief) || period === 0) continue;
    if (model.waiting && belief.orderedAt >= model.at && belief.target < belief.actual - SAME) coming.push(belief.uuid);
    const rate = Math.max(belief.trend, config.burstKiBs);
    const time = (spareNow(belief) / rate) * 1000;
    if (belief.actual < belief.ceiling && time < reactionTime(config.intervalMs, period, config)) risks.push({ uuid: belief.uuid, time });
    else if (belief.orderedAt >= belief.figuresAt) moved.push(belief.uuid);
  }
  risks.sort((a, b) => a.time - b.time);
  if (coming.length > 0 && most > 0) {
    const guests = [...new Set([...coming, ...risks.map(({ uuid }) => uuid)])].slice(0, Math.max(1, Math.floor(most / 2)));
    return { inMs: Math.min(BALLOON_LATENCY, config.intervalMs), guests, settling: [] };
  }
  const settling = moved.slice(0, most);
  if (risks.length === 0 || most === 0) return { inMs: config.intervalMs, guests: [], settling };
  const inMs = lookInterval(risks.length + settling.length, config);
  if (inMs < config.intervalMs) return { inMs, guests: risks.map(({ uuid }) => uuid), settling };
  // Two looks an interval at as many as that allows.
  return { inMs: config.intervalMs / 2, guests: risks.slice(0, Math.max(1, Math.floor(most / 2))).map(({ uuid }) => uuid), settling };
}
