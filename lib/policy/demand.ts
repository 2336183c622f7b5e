/** Step 1: what a guest needs. */

import { isCalm } from './activity.js';
import type { Belief, Draft } from './belief.js';
import { spareNow } from './belief.js';
import {
  BALLOON_LATENCY,
  BRISK_RATE,
  BURST_LASTS,
  CRITICAL_SPARE,
  GLANCE_COST,
  GLANCE_PART,
  LEAST_LOOK,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  LOOK_COST,
  MOST_CUSHION_FRACTION,
  REFRESHED_AGE,
  SECOND_LOOK,
  WATERMARKS,
} from './limits.js';
import type { PolicyConfig } from './types.js';

/**
 * Time between two looks at a guest at work that is at risk, ms, while `guests` are: as short as the budget for extra looks allows,
 * since faster eyes are cheaper than spare memory.
 */
export function lookInterval(guests: number, config: PolicyConfig): number {
  if (!(config.eyes > 0)) return config.intervalMs;
  return Math.min(config.intervalMs, Math.max(LEAST_LOOK, (guests * LOOK_COST) / config.eyes));
}

/** Time between two glances at the work of all `guests`, ms; the whole interval where that is too much for the budget. */
export function glanceInterval(guests: number, config: PolicyConfig): number {
  if (!(config.eyes > 0)) return config.intervalMs;
  return Math.min(config.intervalMs, Math.max(LEAST_LOOK, (guests * GLANCE_COST) / (config.eyes * GLANCE_PART)));
}

/** Time from a guest's need until it has the memory, ms: age of the figures, time until the next look, the balloon's latency. */
export function reactionTime(lookMs: number, statsPeriodMs: number, config: PolicyConfig): number {
  const age = lookMs < config.intervalMs ? REFRESHED_AGE : Math.max(statsPeriodMs, REFRESHED_AGE);
  return age + lookMs + BALLOON_LATENCY;
}

/** Reaction times, ms, for a look at guests of which `movable` can be moved: of those that are calm, at work, or seen once an interval. */
export interface Reactions {
  of(belief: Belief, statsPeriodMs: number): number;
}

export function reactions(movable: readonly Belief[], at: number, config: PolicyConfig): Reactions {
  const glance = glanceInterval(movable.length, config);
  const atWork = movable.reduce((sum, belief) => sum + (isCalm(belief, at) ? 0 : 1), 0);
  const look = lookInterval(atWork, config);
  return {
    of(belief, statsPeriodMs) {
      if (belief.refusesRefresh) return reactionTime(config.intervalMs, statsPeriodMs, config);
      if (isCalm(belief, at)) return reactionTime(glance, statsPeriodMs, config);
      return reactionTime(look, statsPeriodMs, config) + (look < config.intervalMs ? SECOND_LOOK : 0);
    },
  };
}

/**
 * The law: spare ≥ rate × reaction time, above the spare that nobody takes.
 *
 *     rate    = max(trend, burst)
 *     least   = max(100 MiB, used / 10) + trend × reaction
 *     cushion = critical spare + min(rate × reaction, a quarter of the maximum), at least `least`
 *     need    = used + cushion, between floor and ceiling
 */
export function demand(draft: Draft, reactionMs: number, config: PolicyConfig): void {
  const { trend, ceiling } = draft;
  const reaction = reactionMs / 1000;
  const used = Math.max(0, draft.used);
  const least = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) + trend * reaction;
  const burst = Math.max(trend, config.burstKiBs) * reaction;
  const critical = CRITICAL_SPARE + watermarks(draft);
  const cushion = Math.max(least, critical + Math.min(burst, draft.maximum * MOST_CUSHION_FRACTION));
  const floor = draft.phase === 'stuck' ? Math.min(ceiling, Math.max(draft.floor, draft.reachable)) : draft.floor;
  draft.effectiveFloor = floor;
  draft.critical = Math.min(ceiling, Math.max(floor, used + critical));
  draft.need = Math.min(ceiling, Math.max(floor, used + cushion));
}

/**
 * Burst that the guest would survive right now, KiB/s, for BURST_LASTS: until the reaction it lives on its spare, and in all it can have
 * no more than its spare and `supply`, what could be given to it in that time, KiB.
 *
 *     burst = min(spare / reaction, (spare + min(supply, ceiling − actual)) / lasts)
 */
export function survivableBurst(belief: Belief, reactionMs: number, supply: number): number {
  const spare = Math.max(0, spareNow(belief));
  const comes = Math.max(0, Math.min(supply, belief.ceiling - belief.actual));
  return Math.min(spare / reactionMs, (spare + comes) / BURST_LASTS) * 1000;
}

/** What a guest could give to others within BURST_LASTS, KiB. */
export function couldGive(belief: Belief, reactionMs: number): number {
  const time = Math.max(0, BURST_LASTS - reactionMs) / 1000;
  return Math.max(0, Math.min(belief.actual - belief.critical, BRISK_RATE * time));
}

/** What of the guest's spare cannot be used, where the signal is MemFree: the kernel keeps the watermarks for itself. */
function watermarks(belief: Belief): number {
  if (belief.signal === 'usable') return 0;
  const kept = belief.unused - belief.usable;
  return Number.isNaN(kept) ? WATERMARKS : Math.max(0, kept);
}
