/** Step 1: what a guest needs. */
import { column } from './allocate.js';
import { movable } from './decide.js';
import { takenAtMost } from './estimate.js';
import { type Belief, charge, type Draft, type Model, spareNow } from './guest.js';
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
  SAME,
  SAMPLE_COST,
  WATERMARKS,
} from './limits.js';
import type { GuestContext, PolicyConfig } from './types.js';

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

// --- from sampling.ts
/** When to sample next, and at whom: faster sampling go where spare is too little for the time until the next sweep. */

/** What there is to decide on beside the model, right now. */
export interface ActivityCheck {
  /** Now, ms. */
  readonly at: number;
  /** Time that the virtual CPUs of the model's guests have run, ms, in their order; NaN, or nothing at all, where it is not known. */
  readonly cpu: Float64Array;
  /** CPU time that may be spent on extra samples, ms: what the budget gave and has not been spent. */
  readonly savings: number;
}

export interface NextSample {
  /** Guests to be read now by forced refresh, most endangered first, by uuid; empty where there is none or nothing left to spend. */
  readonly guests: readonly string[];
  /** Guests to be refreshed at the next sweep: they were moved and have not answered since, and nothing goes on before they do (rule 6). */
  readonly settling: readonly string[];
  /** When to ask again, ms from now. */
  readonly againMs: number;
}

/**
 * Whom to sample now. A guest is at risk where what it may have left (activity.ts) would not last, at the assumed burst or its trend,
 * until a sample of the next occasion has been acted on. If the budget does not allow for all, the most endangered come first. Guests
 * whose spare lasts until the next sweep has been acted on are left to it.
 *
 * What somebody waits for is watched for as soon as it can have come, and those that have something to give until more can be taken from
 * them, so that it is passed on at once.
 */
export function nextSample(
  model: Model,
  contexts: ReadonlyMap<string, GuestContext>,
  config: PolicyConfig,
  check: ActivityCheck,
): NextSample {
  const { at, cpu, savings } = check;
  const { intervalMs } = config;
  const occasion = activityCheckInterval(model.guests.length, config);
  const risks: Belief[] = [];
  const moved: Belief[] = [];
  const coming: Belief[] = [];
  let arrives = Number.POSITIVE_INFINITY;
  /** How long what a guest may have left would last, by the guest. */
  const lasts = new Map<Belief, number>();
  let againMs = intervalMs;
  for (const [i, belief] of model.guests.entries()) {
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (!movable(belief) || period === 0 || belief.refusesRefresh) continue;
    // Not by the last sample: that may have been at others, again and again.
    if (model.waiting && couldPassOn(belief) && !hasArrived(belief)) {
      // Ever later, since it may take its time.
      const due = Math.max(belief.orderedAt + BALLOON_LATENCY, 2 * belief.actualAt - belief.orderedAt) - at;
      if (due <= 0) coming.push(belief);
      else arrives = Math.min(arrives, due);
    }
    const rate = Math.max(belief.trend, config.burstKiBs);
    if (belief.actual < belief.ceiling && !isCovered(belief, period, config)) {
      againMs = Math.min(againMs, occasion);
      const left = ((spareToUse(belief) - takenAtMost(belief, rate, at, cpu[i] ?? Number.NaN)) / rate) * 1000;
      if (left < reactionTime(occasion, period, config)) {
        lasts.set(belief, left);
        risks.push(belief);
        continue;
      }
    }
    if (belief.orderedAt >= belief.figuresAt) moved.push(belief);
  }
  const most = Math.max(0, Math.floor(savings / SAMPLE_COST));
  const endangered = least(risks, (belief) => lasts.get(belief) ?? 0, most);
  const guests = [...new Set([...coming, ...endangered])].slice(0, most);
  // Until what is to be sampled can be paid for.
  const short = guests.length === 0 && (risks.length > 0 || coming.length > 0);
  const paidMs = config.samplingBudget > 0 ? Math.max(LEAST_SAMPLE, (SAMPLE_COST - savings) / config.samplingBudget) : intervalMs;
  return {
    guests: guests.map(uuidOf),
    settling: moved.slice(0, Math.max(0, most - guests.length)).map(uuidOf),
    againMs: Math.min(short ? Math.min(intervalMs, paidMs) : againMs, arrives),
  };
}

/** It is giving, or has more than its part. */
function couldPassOn({ target, actual, allocation }: Belief): boolean {
  return target < actual - SAME || target > allocation + SAME;
}

/** Its last order has been seen to have come true, by new figures: nothing is taken from it before (rule 6). */
function hasArrived({ target, actual, orderedAt, figuresAt }: Belief): boolean {
  return Math.abs(target - actual) <= SAME && figuresAt > orderedAt;
}

/** The `count` guests of which `of` is least, in its order. Not all are sorted: they may be thousands, and the count a few. */
function least(guests: readonly Belief[], of: (belief: Belief) => number, count: number): Belief[] {
  if (count === 0) return [];
  const most = column(guests, of).sort()[count - 1] ?? Number.POSITIVE_INFINITY;
  return guests
    .filter((belief) => of(belief) <= most)
    .sort((a, b) => of(a) - of(b))
    .slice(0, count);
}

function uuidOf({ uuid }: Belief): string {
  return uuid;
}
