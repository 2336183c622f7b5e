/** When to look next, and at whom: faster eyes go where spare is too little for the time until the next sweep. */
import { lookInterval, reactionTime } from './demand.js';
import type { Model } from './model.js';
import { spareNow } from './model.js';
import { movable } from './safety.js';
import type { GuestContext, PolicyConfig } from './types.js';

export interface NextLook {
  /** Time until the look, ms. */
  readonly inMs: number;
  /** Guests to be read by forced refresh, most endangered first, by uuid. */
  readonly guests: readonly string[];
}

/**
 * A guest is at risk where its spare does not cover the assumed burst (or its trend) until the next sweep would have been acted on.
 * Those are looked at as often as the budget allows; if it does not allow for all, the most endangered come first.
 */
export function nextLook(model: Model, contexts: ReadonlyMap<string, GuestContext>, config: PolicyConfig): NextLook {
  const risks: { uuid: string; time: number }[] = [];
  for (const belief of model.guests) {
    if (!movable(belief) || belief.actual >= belief.ceiling) continue;
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (period === 0) continue;
    const rate = Math.max(belief.trend, config.burstKiBs);
    const time = (spareNow(belief) / rate) * 1000;
    if (time < reactionTime(config.intervalMs, period, config)) risks.push({ uuid: belief.uuid, time });
  }
  if (risks.length === 0 || !(config.eyes > 0)) return { inMs: config.intervalMs, guests: [] };
  risks.sort((a, b) => a.time - b.time);
  const inMs = lookInterval(risks.length, config);
  if (inMs < config.intervalMs) return { inMs, guests: risks.map(({ uuid }) => uuid) };
  const most = Math.max(1, affordable(config));
  return { inMs: config.intervalMs / 2, guests: risks.slice(0, most).map(({ uuid }) => uuid) };
}

/** How many guests the budget lets us look at twice an interval. */
function affordable(config: PolicyConfig): number {
  let guests = 0;
  while (lookInterval(guests + 1, config) <= config.intervalMs / 2) guests++;
  return guests;
}
