/** Step 1: what a guest needs. */

import type { Belief, Draft } from './belief.js';
import { spareNow } from './belief.js';
import {
  BALLOON_LATENCY,
  CRITICAL_SPARE,
  LEAST_LOOK,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  LOOK_COST,
  MOST_CUSHION_FRACTION,
  REFRESHED_AGE,
  WATERMARKS,
} from './limits.js';
import type { PolicyConfig } from './types.js';

/**
 * Time between two looks at a guest that is at risk, ms, while `guests` are: as short as the budget for extra looks allows,
 * since faster eyes are cheaper than spare memory.
 */
export function lookInterval(guests: number, config: PolicyConfig): number {
  if (!(config.eyes > 0)) return config.intervalMs;
  return Math.min(config.intervalMs, Math.max(LEAST_LOOK, (guests * LOOK_COST) / config.eyes));
}

/** Time from a guest's need until it has the memory, ms: age of the figures, time until the next look, the balloon's latency. */
export function reactionTime(lookMs: number, statsPeriodMs: number, config: PolicyConfig): number {
  const age = lookMs < config.intervalMs ? REFRESHED_AGE : Math.max(statsPeriodMs, REFRESHED_AGE);
  return age + lookMs + BALLOON_LATENCY;
}

/**
 * The law: spare ≥ rate × reaction time.
 *
 *     rate    = max(trend, burst)
 *     least   = max(100 MiB, used / 10) + trend × reaction
 *     cushion = rate × reaction, at least `least`, at most a quarter of the maximum
 *     need    = used + cushion, between floor and ceiling
 */
export function demand(draft: Draft, reactionMs: number, config: PolicyConfig): void {
  const { trend, ceiling } = draft;
  const reaction = reactionMs / 1000;
  const used = Math.max(0, draft.used);
  const least = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) + trend * reaction;
  const burst = Math.max(trend, config.burstKiBs) * reaction;
  const critical = CRITICAL_SPARE + watermarks(draft);
  const cushion = Math.max(least, critical, Math.min(burst, draft.maximum * MOST_CUSHION_FRACTION));
  const floor = draft.phase === 'stuck' ? Math.min(ceiling, Math.max(draft.floor, draft.reachable)) : draft.floor;
  draft.effectiveFloor = floor;
  draft.critical = Math.min(ceiling, Math.max(floor, used + critical));
  draft.need = Math.min(ceiling, Math.max(floor, used + cushion));
}

/** Burst that the guest would survive right now, KiB/s: its spare over the reaction time. NaN where its figures are not known. */
export function survivableBurst(belief: Belief, reactionMs: number): number {
  return (Math.max(0, spareNow(belief)) / reactionMs) * 1000;
}

/** What of the guest's spare cannot be used, where the signal is MemFree: the kernel keeps the watermarks for itself. */
function watermarks(belief: Belief): number {
  if (belief.signal === 'usable') return 0;
  const kept = belief.unused - belief.usable;
  return Number.isNaN(kept) ? WATERMARKS : Math.max(0, kept);
}
