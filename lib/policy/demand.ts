/** Step 1: what a guest needs. */

import type { Belief, Draft } from './belief.js';
import { charge, spareNow } from './belief.js';
import {
  ACTIVITY_CHECK_COST,
  ACTIVITY_CHECK_PART,
  AT_ONCE,
  BALLOON_LATENCY,
  BRISK_RATE,
  BURST_LASTS,
  CRITICAL_SPARE,
  GROW_BAND,
  LEAST_SAMPLE,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  MOST_CUSHION_FRACTION,
  REFRESHED_AGE,
  SAMPLE_COST,
  WATERMARKS,
} from './limits.js';
import type { PolicyConfig } from './types.js';

/**
 * Time between two samples of a guest at work that is at risk, ms, while `guests` are: as short as the budget for extra samples allows,
 * since faster sampling are cheaper than spare memory.
 */
export function sampleInterval(guests: number, config: PolicyConfig): number {
  return affordable(guests * SAMPLE_COST, config);
}

/** Time between two activity checks at the work of all `guests`, ms; the whole interval where that is too much for the budget. */
export function activityCheckInterval(guests: number, config: PolicyConfig): number {
  return affordable((guests * ACTIVITY_CHECK_COST) / ACTIVITY_CHECK_PART, config);
}

/** Time between what takes `cost` ms of the budget each time, ms. */
function affordable(cost: number, { samplingBudget, intervalMs }: PolicyConfig): number {
  return samplingBudget > 0 ? Math.min(intervalMs, Math.max(LEAST_SAMPLE, cost / samplingBudget)) : intervalMs;
}

/** Time from a guest's need until it has the memory, ms: age of the figures, time until the next sample, the balloon's latency. */
export function reactionTime(sampleMs: number, statsPeriodMs: number, config: PolicyConfig): number {
  const age = sampleMs < config.intervalMs ? REFRESHED_AGE : Math.max(statsPeriodMs, REFRESHED_AGE);
  return age + sampleMs + BALLOON_LATENCY;
}

/** Whether a guest's spare lasts, at the assumed burst or its trend, until what the next sweep sees has been acted on. */
export function isCovered(belief: Belief, statsPeriodMs: number, config: PolicyConfig): boolean {
  const rate = Math.max(belief.trend, config.burstKiBs);
  return (spareToUse(belief) / rate) * 1000 >= reactionTime(config.intervalMs, statsPeriodMs, config);
}

/**
 * Reaction time, ms, by guest, while `movable` can be moved. Where the host tells which guests are at work, the budget for samples is
 * computed to serve AT_ONCE that rise at the same time; where it does not, all of them. The same for guests at rest and at work: a
 * cushion that came and went with the work would have memory go to and fro.
 */
export function reactions(movable: readonly Belief[], config: PolicyConfig): (belief: Belief, statsPeriodMs: number) => number {
  let told = 0;
  for (const { cpu } of movable) if (!Number.isNaN(cpu)) told++;
  const sampleMs = sampleInterval(movable.length - told + Math.min(told, AT_ONCE), config);
  return (belief, statsPeriodMs) => reactionTime(belief.refusesRefresh ? config.intervalMs : sampleMs, statsPeriodMs, config);
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
  const { trend } = draft;
  const reaction = reactionMs / 1000;
  const used = Math.max(0, draft.used);
  const least = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) + trend * reaction;
  const burst = Math.max(trend, config.burstKiBs) * reaction;
  const critical = criticalSpare(draft);
  // What it holds and cannot give (rule 5) others must be asked for.
  const ceiling = Math.max(draft.ceiling, Math.min(charge(draft), used + critical));
  draft.ceiling = ceiling;
  const cushion = Math.max(least, critical + Math.min(burst, draft.maximum * MOST_CUSHION_FRACTION));
  const floor = draft.phase === 'stuck' ? Math.min(ceiling, Math.max(draft.floor, draft.reachable)) : draft.floor;
  draft.effectiveFloor = floor;
  draft.critical = Math.min(ceiling, Math.max(floor, used + critical));
  draft.need = Math.min(ceiling, Math.max(floor, used + cushion));
}

/** From a need until what others give for it is there, in reaction times: seen, given, passed on. */
const RELAY = 3;

/** What there is for a guest that bursts, KiB. */
export interface Supply {
  /** Capacity less charges: negative where too much is charged, and then what others give goes there first. */
  readonly free: number;
  /** What the others could give within BURST_LASTS. */
  readonly gives: number;
  /** The rise that samples of it are timed for, KiB/s; Infinity where it is sampled as soon as it becomes active. */
  readonly timedFor: number;
  /** Among how many it is shared out: those that lack something already, and this one. */
  readonly takers: number;
  /** The host itself is short: nobody grows that has its critical spare. */
  readonly inNeedOnly: boolean;
}

/**
 * Burst that the guest would survive right now, KiB/s, for BURST_LASTS. It lives on its spare until the reaction; then it has what is free;
 * and what others give, who are asked at the reaction, when it has been seen to come and been passed on: as long again for each. Where too
 * much is charged that goes first. As fast as its balloon goes, up to its ceiling:
 *
 *     relayed = 3 × reaction, and what it takes the others to give what is charged too much
 *     burst   = min(spare / reaction, (spare + free) / relayed, (spare + free + gives) / lasts, largest cushion / reaction,
 *                   the rise that samples of it are timed for)
 *
 * and what the spare alone lasts for in any case.
 */
export function survivableBurst(belief: Belief, reactionMs: number, supply: Supply): number {
  // What is being taken or is yet to be taken is no longer there for a burst, nor what the kernel keeps for itself.
  const spare = Math.max(0, Math.min(belief.actual, belief.target, belief.allocation) - belief.used - watermarks(belief));
  const free = supply.free > 0 ? supply.free / supply.takers : supply.free;
  const gives = supply.gives / supply.takers;
  const most = Math.max(0, Math.min(belief.ceiling - belief.actual, belief.speed * secondsAfter(reactionMs)));
  const debt = free >= 0 ? 0 : gives > 0 ? (-free / gives) * 1000 * relayedFor(reactionMs) : BURST_LASTS;
  const relayed = Math.min(BURST_LASTS, RELAY * reactionMs + debt);
  const atOnce = Math.min(BURST_LASTS, reactionMs);
  // While it is followed it has its cushion, of which a quarter of the maximum is the most (`demand`).
  const cushion = CRITICAL_SPARE + (supply.inNeedOnly ? 0 : belief.maximum * MOST_CUSHION_FRACTION);
  const followed = Math.min(supply.timedFor / 1000, cushion / reactionMs);
  const helped = Math.min(
    spare / atOnce,
    (spare + Math.min(most, Math.max(0, free))) / relayed,
    (spare + Math.min(most, Math.max(0, free + gives))) / BURST_LASTS,
    followed,
  );
  return 1000 * Math.max(helped, spare / BURST_LASTS);
}

/** What a guest could give to others within BURST_LASTS, KiB: nothing where it lacks something itself. */
export function couldGive(belief: Belief, reactionMs: number, at: number): number {
  if (belief.phase !== 'steady' || at < belief.shrinkAfter || belief.allocation - belief.target >= GROW_BAND) return 0;
  return Math.max(0, Math.min(belief.actual - belief.critical, Math.min(BRISK_RATE, belief.speed) * relayedFor(reactionMs)));
}

/** For so long of a burst what others give for it keeps coming, s. */
export function relayedFor(reactionMs: number): number {
  return secondsAfter(RELAY * reactionMs);
}

/** What is left of a burst after so long, s. */
function secondsAfter(ms: number): number {
  return Math.max(0, BURST_LASTS - ms) / 1000;
}

/** Spare that nobody takes from a guest, in its signal. */
export function criticalSpare(belief: Belief): number {
  return CRITICAL_SPARE + watermarks(belief);
}

/** Spare that the guest can use up. */
export function spareToUse(belief: Belief): number {
  return spareNow(belief) - watermarks(belief);
}

/** What of the guest's spare cannot be used, where the signal is MemFree: the kernel keeps the watermarks for itself. */
function watermarks(belief: Belief): number {
  if (belief.signal === 'usable') return 0;
  const kept = belief.unused - belief.usable;
  return Number.isNaN(kept) ? WATERMARKS : Math.max(0, kept);
}
