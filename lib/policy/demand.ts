/**
 * Step 2, demand: what a guest needs, and when to sample it next. One law stands behind both: spare ≥ rate × reaction time. The reaction
 * time is shortened by sampling guests at risk more often, as far as the budget allows; spare memory is kept for the time that remains.
 */
import { cacheOf, isWatched } from './cache.js';
import {
  type Belief,
  charge,
  criticalSpare,
  type Draft,
  isIdle,
  isMovable,
  isSame,
  type Model,
  overhead,
  spareToUse,
  takes,
  untilHelped,
  untouched,
  watermarks,
} from './guest.js';
import {
  ACTIVITY_CHECK_COST,
  ACTIVITY_CHECK_PART,
  AT_ONCE,
  BALLOON_LATENCY,
  BURST_LASTS,
  DEFLATES_FASTER,
  FIRST_PROBE_REST,
  GROW_BAND,
  HIDDEN_MOST,
  LEAST_SAMPLE,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  REFRESHED_AGE,
  RELIEVED,
  RISING,
  SAME,
  SAMPLE_COST,
  SAVED_FOR,
  UNTOUCHED_LEAST,
} from './limits.js';
import { takenAtMost } from './readings.js';
import type { GuestContext, PolicyConfig } from './types.js';

/** Time between two samples of a guest at work that is at risk, ms, while `guests` are: as short as the budget allows. */
export function sampleInterval(guests: number, config: PolicyConfig): number {
  return affordable(guests * SAMPLE_COST, config);
}

/** Time between two activity checks of `count` virtual CPUs, ms; the whole interval where that is too much for the budget. */
export function activityCheckInterval(count: number, config: PolicyConfig): number {
  return affordable((count * ACTIVITY_CHECK_COST) / ACTIVITY_CHECK_PART, config);
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

/**
 * What a guest can take before it is short, or loses any of the `cache` that it works in, whatever it says: memory that its process has not touched is in
 * nobody's use.
 */
function spareToTake(belief: Belief, cache: number): number {
  return Math.max(spareToUse(belief) - cache, untouched(belief) - overhead(belief) - UNTOUCHED_LEAST);
}

/** Cache that it works in, or may: until a step into its cache has been watched none of that is proven to be spare. */
function worked(belief: Belief, at: number): number {
  return at - belief.cutAt < FIRST_PROBE_REST ? Math.max(belief.working, cacheOf(belief)) : belief.working;
}

/** Whether a guest's spare lasts, at the assumed burst or its trend, until what the next sweep sees has been acted on. */
function isCovered(belief: Belief, at: number, statsPeriodMs: number, config: PolicyConfig): boolean {
  const rate = Math.max(belief.trend, config.burstKiBs);
  return (spareToTake(belief, worked(belief, at)) / rate) * 1000 >= reactionTime(config.intervalMs, statsPeriodMs, config);
}

/**
 * Reaction time, ms, by guest, while `movable` can be moved. Where the host tells which guests are at work, the sampling budget is taken
 * to serve AT_ONCE that rise at the same time; where it does not, all of them. The same for guests at rest and at work: a cushion that
 * came and went with the work would have memory go to and fro.
 */
export function reactions(movable: readonly Belief[], config: PolicyConfig): (belief: Belief, statsPeriodMs: number) => Reaction {
  let known = 0;
  let rising = 0;
  for (const { cpu, trend } of movable) {
    if (!Number.isNaN(cpu)) known++;
    if (trend >= RISING) rising++;
  }
  const likely = movable.length - known + Math.min(known, AT_ONCE);
  const usual = sampleInterval(likely, config);
  const now = sampleInterval(Math.max(likely, rising), config);
  return ({ refusesRefresh }, statsPeriodMs) => {
    const after = (sampleMs: number) => reactionTime(refusesRefresh ? config.intervalMs : sampleMs, statsPeriodMs, config);
    return { usualMs: after(usual), nowMs: after(now) };
  };
}

/** Time from a guest's need until it has the memory, ms: as it usually is, and while all rise that rise now and the budget is shared. */
export interface Reaction {
  readonly usualMs: number;
  readonly nowMs: number;
}

/**
 * What a guest needs and what it should have, were there room for all, each within its bounds:
 *
 *     critical = used + the spare that nobody takes + max(0, trend × min(reaction, 1 s) − hidden)
 *     need     = used − hidden + working cache + max(100 MiB, used / 10) + trend × reaction, at least used + working cache + 100 MiB
 *     want     = used − hidden + working cache + critical spare + max(trend, burst) × reaction, at least `need`
 *
 * Need is paid from what the host really has; the rest of `want` is optional growth (account.ts).
 */
export function demand(draft: Draft, { usualMs, nowMs }: Reaction, statsPeriodMs: number, config: PolicyConfig): void {
  const { trend, rss, working, hidden } = draft;
  const reaction = usualMs / 1000;
  const used = Math.max(0, draft.used);
  // What it does not count as free it can use all the same.
  const uses = Math.max(0, used - hidden);
  // Spare is what the guest can use: of MemFree, what its kernel does not keep for itself.
  const unusable = working + watermarks(draft);
  const least = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) + unusable + (trend * nowMs) / 1000;
  const burst = Math.max(trend, config.burstKiBs) * reaction;
  const critical = criticalSpare(draft);
  const cushion = Math.max(least, critical + working + burst);
  // What it holds and cannot give (rule 5) others must be asked for.
  const ceiling = Math.max(draft.ceiling, Math.min(charge(draft), used + critical));
  const floor = draft.phase === 'stuck' ? Math.min(ceiling, Math.max(draft.floor, draft.reachable)) : Math.min(draft.floor, ceiling);
  const within = (size: number, from = floor) => Math.min(ceiling, Math.max(from, size));
  // The floor is where shrinking ends; who is under it is lifted by optional growth.
  const from = Math.min(floor, charge(draft));
  draft.ceiling = ceiling;
  draft.floor = floor;
  // One that seems safe is left to the sweeps.
  draft.reaction = isCovered(draft, draft.actualAt, statsPeriodMs, config) ? reactionTime(config.intervalMs, statsPeriodMs, config) : nowMs;
  // Memory that its process has not touched is in nobody's use, whatever the guest says: it needs no more, and gets no more.
  const touched = rss > 0 ? rss - overhead(draft) + UNTOUCHED_LEAST : Number.POSITIVE_INFINITY;
  const evident = (size: number, spare: number) => Math.min(size, Math.max(within(touched + spare, from), charge(draft)));
  // What counts as free is not to be less than the least spare for long: what is given comes to count only once the lists are full.
  const bare = used + LEAST_SPARE + unusable;
  // What it is given fills the lists first.
  const fills = trend >= RISING && charge(draft) < bare ? HIDDEN_MOST - hidden : 0;
  const shown = bare + Math.min(hidden, 2 * GROW_BAND) + fills;
  draft.need = evident(within(Math.max(shown, uses + least), from), least);
  draft.critical = Math.min(draft.need, within(used + critical + takes(draft, untilHelped(draft)), from));
  draft.want = Math.max(draft.need, evident(within(uses + cushion), cushion));
}

/**
 * The rise of its use that a guest would survive for 3 s, should it alone begin to take memory now, KiB/s. Until the reaction it lives on
 * its spare; then it has a part of what the host has for need as well:
 *
 *     survives = max(spare / 3 s, min(rate, spare / reaction, (spare + more) / 3 s))
 *
 * with spare = min(actual, target, allocation) − used, but no more than the host has above its reserve, since that is taken back from it for
 * the host; rate = max(burst, trend), since samples are timed for no more, and more = min(room / takers, ceiling − actual). A lower bound:
 * what others would give comes on top.
 *
 * @param host what need may spend of the host (account.ts), and what it has, KiB
 * @param takers how many share `room`
 */
export function survivableBurst(
  belief: Belief,
  { burstKiBs }: PolicyConfig,
  { room, available, reserve }: { readonly room: number; readonly available: number; readonly reserve: number },
  takers: number,
): number {
  const { actual, target, allocation, used, ceiling, reaction, speed, trend } = belief;
  const rate = Math.max(burstKiBs, trend);
  const spare = Math.max(0, Math.min(Math.min(actual, target, allocation) - used - watermarks(belief), available - reserve));
  const reach = (DEFLATES_FASTER * speed * Math.max(0, BURST_LASTS - reaction)) / 1000;
  const more = Math.max(0, Math.min(room / takers, ceiling - actual, reach));
  const perSecond = (kib: number, ms: number) => (1000 * kib) / Math.min(ms, BURST_LASTS);
  return Math.max(perSecond(spare, BURST_LASTS), Math.min(rate, perSecond(spare, reaction), perSecond(spare + more, BURST_LASTS)));
}

/** Guests whose disk reads are wanted at the next sample, by uuid: those that read least lately, so that none is left out for ever. */
export function toWatch({ guests }: Model, at: number): readonly string[] {
  return guests
    .filter((belief) => isWatched(belief, at))
    .sort((a, b) => a.readsAt - b.readsAt)
    .map(uuidOf);
}

/** What there is to decide on beside the model, right now. */
export interface ActivityCheck {
  /** Now, ms. */
  readonly at: number;
  /** Time that the virtual CPUs of the model's guests have run, ms, in their order; NaN, or nothing at all, where it is not known. */
  readonly cpu: Float64Array;
  /** Virtual CPUs that such a check reads; by default one a guest. */
  readonly vcpus?: number;
  /** CPU time that may be spent on extra samples, ms: what the budget gave and has not been spent. */
  readonly savings: number;
}

/** Whom to sample next, and when. */
export interface NextSample {
  /** Guests to be read now by forced refresh, most endangered first, by uuid; empty where there is none or nothing left to spend. */
  readonly guests: readonly string[];
  /** Guests to be refreshed at the next sweep: they were moved and have not answered since, and nothing goes on before they do (rule 6). */
  readonly settling: readonly string[];
  /** When to ask again, ms from now. */
  readonly againMs: number;
}

/**
 * Whom to sample now. A guest is at risk where what it may have left would not last, at the assumed burst or its trend,
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
  const occasion = activityCheckInterval(check.vcpus ?? model.guests.length, config);
  // For unproven cache there is what is saved beyond what a crowd may need.
  const watchesUnproven = savings >= (config.samplingBudget * SAVED_FOR) / 2;
  const risks: Belief[] = [];
  const moved: Belief[] = [];
  const coming: Belief[] = [];
  const rising: Belief[] = [];
  let arrives = Number.POSITIVE_INFINITY;
  /** How long what a guest may have left would last, by the guest. */
  const lasts = new Map<Belief, number>();
  const waits = model.waiting || model.reserveInDanger;
  let againMs = intervalMs;
  for (const [i, belief] of model.guests.entries()) {
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (!isMovable(belief) || period === 0 || belief.refusesRefresh) continue;
    // Not by the last sample: that may have been at others, again and again.
    if (waits && couldPassOn(belief) && !hasArrived(belief)) {
      // Ever later, since it may take its time. A sweep that has seen it there did not bring the figures that are waited for.
      const seenAt = isSame(belief.target, belief.actual) ? belief.figuresAt : belief.actualAt;
      const due = Math.max(belief.orderedAt + BALLOON_LATENCY, 2 * seenAt - belief.orderedAt) - at;
      if (due <= 0) coming.push(belief);
      else arrives = Math.min(arrives, due);
    } else if (waits && belief.trend >= RISING) {
      // What it leaves to others must be known, however long its own spare lasts.
      const due = belief.figuresAt + RELIEVED - at;
      if (due <= 0) rising.push(belief);
      else arrives = Math.min(arrives, due);
    }
    const rate = Math.max(belief.trend, config.burstKiBs);
    if (belief.actual < belief.ceiling && !isCovered(belief, at, period, config)) {
      againMs = Math.min(againMs, occasion);
      const cache = watchesUnproven ? worked(belief, at) : belief.working;
      const taken = takenAtMost(belief, rate, at, cpu[i] ?? Number.NaN);
      const left = (spare: number) => ((spare - taken) / rate) * 1000;
      if (left(spareToTake(belief, cache)) < reactionTime(occasion, period, config)) {
        // Those that may die come before those that may lose their cache.
        const lives = left(spareToTake(belief, 0));
        // What it was given was computed for figures that are no older than this. Of one at rest its CPUs tell enough.
        const age = at - belief.takenAfter;
        const due = belief.target < belief.need - SAME ? untilHelped(belief) : belief.reaction;
        lasts.set(belief, !isIdle(belief, at) && age + BALLOON_LATENCY > due ? Math.min(lives, -age) : lives);
        risks.push(belief);
        continue;
      }
    }
    if (belief.orderedAt >= belief.figuresAt) moved.push(belief);
  }
  const most = Math.max(0, Math.floor(savings / SAMPLE_COST));
  const endangered = least(risks, (belief) => lasts.get(belief) ?? 0, most);
  // Where the host is short nobody is helped before others have given.
  const order = model.reserveInDanger ? [...coming, ...endangered] : [...endangered, ...coming];
  const guests = [...new Set([...order, ...rising])].slice(0, most);
  // Those that give must not spend what is saved for many that rise at once: half of what an interval earns is theirs.
  const settles = Math.floor((config.samplingBudget * intervalMs) / SAMPLE_COST / 2);
  // Until what is to be sampled can be paid for.
  const short = guests.length === 0 && (risks.length > 0 || coming.length > 0 || rising.length > 0);
  const paidMs = config.samplingBudget > 0 ? Math.max(LEAST_SAMPLE, (SAMPLE_COST - savings) / config.samplingBudget) : intervalMs;
  return {
    guests: guests.map(uuidOf),
    settling: moved.slice(0, Math.min(most - guests.length, settles)).map(uuidOf),
    againMs: Math.min(short ? Math.min(intervalMs, paidMs) : againMs, arrives),
  };
}

/** It is giving, or has more than its part. */
function couldPassOn({ target, actual, allocation }: Belief): boolean {
  return target < actual - SAME || target > allocation + SAME;
}

/** Its last order has been seen to have come true, by new figures of that size: nothing is taken from it before (rule 6). */
function hasArrived({ target, actual, size, orderedAt, figuresAt }: Belief): boolean {
  return isSame(target, actual) && isSame(actual, size) && figuresAt > orderedAt;
}

/** The `count` guests of which `of` is least, in its order. Not all are sorted: they may be thousands, and the count a few. */
function least(guests: readonly Belief[], of: (belief: Belief) => number, count: number): Belief[] {
  if (count === 0) return [];
  const most = Float64Array.from(guests, of).sort()[count - 1] ?? Number.POSITIVE_INFINITY;
  return guests
    .filter((belief) => of(belief) <= most)
    .sort((a, b) => of(a) - of(b))
    .slice(0, count);
}

function uuidOf({ uuid }: Belief): string {
  return uuid;
}
