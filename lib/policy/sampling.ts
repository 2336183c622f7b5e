/** When to sample next, and at whom: faster sampling go where spare is too little for the time until the next sweep. */

import { takenAtMost } from './activity.js';
import type { Belief, Model } from './belief.js';
import { activityCheckInterval, isCovered, reactionTime, spareToUse } from './demand.js';
import { BALLOON_LATENCY, LEAST_SAMPLE, SAME, SAMPLE_COST } from './limits.js';
import { movable } from './safety.js';
import type { GuestContext, PolicyConfig } from './types.js';
import { column } from './water.js';

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
