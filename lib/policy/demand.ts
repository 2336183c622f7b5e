/**
 * Step 2, demand: what a guest needs, and when to sample it next. Both follow one law: spare ≥ rate × reaction time. memcoord shortens the
 * reaction time by sampling guests at risk more often, as far as the budget allows. Spare memory covers the time that remains.
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

/** Time between two samples of an active guest at risk, ms, while `guests` are at risk: as short as the budget allows. */
export function sampleInterval(guests: number, config: PolicyConfig): number {
  return affordable(guests * SAMPLE_COST, config);
}

/** Time between two activity checks of `count` virtual CPUs, ms: as short as the budget allows, and at most the interval. */
export function activityCheckInterval(count: number, config: PolicyConfig): number {
  return affordable((count * ACTIVITY_CHECK_COST) / ACTIVITY_CHECK_PART, config);
}

/** Time between two actions that each take `cost` ms of the budget, ms. */
function affordable(cost: number, { samplingBudget, intervalMs }: PolicyConfig): number {
  return samplingBudget > 0 ? Math.min(intervalMs, Math.max(LEAST_SAMPLE, cost / samplingBudget)) : intervalMs;
}

/** Time from a guest's need until it has the memory, ms: age of the figures, time until the next sample, the balloon's latency. */
export function reactionTime(sampleMs: number, statsPeriodMs: number, config: PolicyConfig): number {
  const age = sampleMs < config.intervalMs ? REFRESHED_AGE : Math.max(statsPeriodMs, REFRESHED_AGE);
  return age + sampleMs + BALLOON_LATENCY;
}

/**
 * What a guest can take before it is short, or loses any of the `cache` that it works in, whatever it reports. Memory that its process has
 * not touched is not in use.
 */
function spareToTake(belief: Belief, cache: number): number {
  return Math.max(spareToUse(belief) - cache, untouched(belief) - overhead(belief) - UNTOUCHED_LEAST);
}

/** Cache that the guest works in, or may work in. Until a step into its cache has been watched, none of the cache is proven to be spare. */
function worked(belief: Belief, at: number): number {
  return at - belief.cutAt < FIRST_PROBE_REST ? Math.max(belief.working, cacheOf(belief)) : belief.working;
}

/** True if a guest's spare lasts, at the assumed burst or its trend, until memcoord has acted on what the next sweep shows. */
function isCovered(belief: Belief, at: number, statsPeriodMs: number, config: PolicyConfig): boolean {
  const rate = Math.max(belief.trend, config.burstKiBs);
  return (spareToTake(belief, worked(belief, at)) / rate) * 1000 >= reactionTime(config.intervalMs, statsPeriodMs, config);
}

/**
 * Reaction time of each guest, ms, while the guests of `movable` can be moved. If the host reports which guests are at work, the sampling
 * budget is assumed to serve AT_ONCE guests that rise at the same time; if not, all of them. Idle and active guests get the same reaction
 * time: a cushion that came and went with activity would move memory to and fro.
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

/** Time from a guest's need until it has the memory, ms: the usual one, and the one while all guests that rise now share the budget. */
export interface Reaction {
  readonly usualMs: number;
  readonly nowMs: number;
}

/**
 * What a guest needs, and what it should have if there is room for all, each within its bounds:
 *
 *     critical = used + critical spare + max(0, trend × min(reaction, 1 s) − hidden)
 *     need     = used − hidden + working cache + max(100 MiB, used / 10) + trend × reaction, at least used + working cache + 100 MiB
 *     want     = used − hidden + working cache + critical spare + max(trend, burst) × reaction, at least `need`
 *
 * Need is paid from what the host really has. The rest of `want` is optional growth (account.ts).
 */
export function demand(draft: Draft, { usualMs, nowMs }: Reaction, statsPeriodMs: number, config: PolicyConfig): void {
  const { trend, rss, working, hidden } = draft;
  const reaction = usualMs / 1000;
  const used = Math.max(0, draft.used);
  // The guest does not count hidden memory as free, but can use it all the same.
  const uses = Math.max(0, used - hidden);
  // Spare is what the guest can use: MemFree without what its kernel keeps for itself.
  const unusable = working + watermarks(draft);
  const least = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) + unusable + (trend * nowMs) / 1000;
  const burst = Math.max(trend, config.burstKiBs) * reaction;
  const critical = criticalSpare(draft);
  const cushion = Math.max(least, critical + working + burst);
  // Rule 5: the ceiling is at least what the guest holds and cannot give, so that other guests are asked for it.
  const ceiling = Math.max(draft.ceiling, Math.min(charge(draft), used + critical));
  const floor = draft.phase === 'stuck' ? Math.min(ceiling, Math.max(draft.floor, draft.reachable)) : Math.min(draft.floor, ceiling);
  const within = (size: number, from = floor) => Math.min(ceiling, Math.max(from, size));
  // The floor only ends shrinking. A guest that is below it is raised by optional growth.
  const from = Math.min(floor, charge(draft));
  draft.ceiling = ceiling;
  draft.floor = floor;
  // A guest that seems safe is left to the sweeps.
  draft.reaction = isCovered(draft, draft.actualAt, statsPeriodMs, config) ? reactionTime(config.intervalMs, statsPeriodMs, config) : nowMs;
  // Memory that the guest's process has not touched is not in use, whatever the guest reports, so it adds nothing to need or want.
  const touched = rss > 0 ? rss - overhead(draft) + UNTOUCHED_LEAST : Number.POSITIVE_INFINITY;
  const evident = (size: number, spare: number) => Math.min(size, Math.max(within(touched + spare, from), charge(draft)));
  // Reported spare should not stay below the least spare: given memory counts as free only once the per-CPU lists are full.
  const bare = used + LEAST_SPARE + unusable;
  // Given memory fills the per-CPU lists first.
  const fills = trend >= RISING && charge(draft) < bare ? HIDDEN_MOST - hidden : 0;
  const shown = bare + Math.min(hidden, 2 * GROW_BAND) + fills;
  draft.need = evident(within(Math.max(shown, uses + least), from), least);
  draft.critical = Math.min(draft.need, within(used + critical + takes(draft, untilHelped(draft)), from));
  draft.want = Math.max(draft.need, evident(within(uses + cushion), cushion));
}

/**
 * The rise that a guest would survive for 3 s if it alone began to take memory now, KiB/s. Until memcoord reacts, the guest lives on its
 * spare; then it also has a part of what the host has for need:
 *
 *     survives = max(spare / 3 s, min(rate, spare / reaction, (spare + more) / 3 s))
 *
 * with spare = min(actual, target, allocation) − used, but no more than the host has above its reserve, since the host takes back what
 * exceeds that; rate = max(burst, trend), since samples are timed for no more; and more = min(room / takers, ceiling − actual, what its
 * balloon can deflate in 3 s − reaction). This is a lower bound: what other guests would give comes on top.
 *
 * @param host what need may spend of the host (account.ts), and what it has available and keeps as its reserve, KiB
 * @param takers how many guests share `room`
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

/** Guests whose disk reads are wanted at the next sample, by uuid: those read longest ago first, so that no guest is left out forever. */
export function toWatch({ guests }: Model, at: number): readonly string[] {
  return guests
    .filter((belief) => isWatched(belief, at))
    .sort((a, b) => a.readsAt - b.readsAt)
    .map(uuidOf);
}

/** What the choice of the next sample depends on besides the model, right now. */
export interface ActivityCheck {
  /** Now, ms. */
  readonly at: number;
  /** Time that the virtual CPUs of the model's guests have run, ms, in the model's order; NaN, or absent, if not known. */
  readonly cpu: Float64Array;
  /** Virtual CPUs that an activity check reads; by default one per guest. */
  readonly vcpus?: number;
  /** CPU time that may be spent on extra samples, ms: the part of the budget that was earned and not spent. */
  readonly savings: number;
}

/** Which guests to sample next, and when. */
export interface NextSample {
  /** Guests to read now by forced refresh, most endangered first, by uuid; empty if there are none, or if no budget is left. */
  readonly guests: readonly string[];
  /** Guests to refresh at the next sweep: they were moved and have not answered since. They are not moved on before they do (rule 6). */
  readonly settling: readonly string[];
  /** When to ask again, ms from now. */
  readonly againMs: number;
}

/**
 * Which guests to sample now. A guest is at risk if the spare that it may have left would not last, at the assumed burst or its trend,
 * until memcoord has acted on a sample of the next occasion. If the budget does not allow for all, the most endangered come first. Guests
 * whose spare lasts until memcoord has acted on the next sweep are left to the sweep.
 *
 * While a guest waits, donors are sampled as soon as their memory can have arrived, and until more can be taken from them, so that it is
 * passed on at once.
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
  // Unproven cache is watched only from what is saved beyond what many guests at once may need.
  const watchesUnproven = savings >= (config.samplingBudget * SAVED_FOR) / 2;
  const risks: Belief[] = [];
  const moved: Belief[] = [];
  const coming: Belief[] = [];
  const rising: Belief[] = [];
  let arrives = Number.POSITIVE_INFINITY;
  /** How long the spare that a guest may have left would last, ms, by guest. */
  const lasts = new Map<Belief, number>();
  const waits = model.waiting || model.reserveInDanger;
  let againMs = intervalMs;
  for (const [i, belief] of model.guests.entries()) {
    const period = (contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    if (!isMovable(belief) || period === 0 || belief.refusesRefresh) continue;
    // When a donor is due depends on its own readings, not on the last sample: that may have been of other guests, again and again.
    if (waits && couldPassOn(belief) && !hasArrived(belief)) {
      // Ask the donor at growing intervals, as it may be slow. A sweep that saw the balloon arrive may not have brought new figures.
      const seenAt = isSame(belief.target, belief.actual) ? belief.figuresAt : belief.actualAt;
      const due = Math.max(belief.orderedAt + BALLOON_LATENCY, 2 * seenAt - belief.orderedAt) - at;
      if (due <= 0) coming.push(belief);
      else arrives = Math.min(arrives, due);
    } else if (waits && belief.trend >= RISING) {
      // While others wait, memcoord must know what a rising guest leaves to them, however long its own spare lasts.
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
        // Guests that may die come before guests that may lose their cache.
        const lives = left(spareToTake(belief, 0));
        // Its allocation assumes figures that are no older than `due`. For an idle guest, the CPU time tells enough.
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
  // While the host is under its reserve, no guest is helped before others have given.
  const order = model.reserveInDanger ? [...coming, ...endangered] : [...endangered, ...coming];
  const guests = [...new Set([...order, ...rising])].slice(0, most);
  // Guests that were moved must not use up what is saved for many guests that rise at once. They get half of what an interval earns.
  const settles = Math.floor((config.samplingBudget * intervalMs) / SAMPLE_COST / 2);
  // If nothing can be paid for now, wait until one sample can.
  const short = guests.length === 0 && (risks.length > 0 || coming.length > 0 || rising.length > 0);
  const paidMs = config.samplingBudget > 0 ? Math.max(LEAST_SAMPLE, (SAMPLE_COST - savings) / config.samplingBudget) : intervalMs;
  return {
    guests: guests.map(uuidOf),
    settling: moved.slice(0, Math.min(most - guests.length, settles)).map(uuidOf),
    againMs: Math.min(short ? Math.min(intervalMs, paidMs) : againMs, arrives),
  };
}

/** True if the guest is giving, or has more than its allocation. */
function couldPassOn({ target, actual, allocation }: Belief): boolean {
  return target < actual - SAME || target > allocation + SAME;
}

/** True if new figures show that the guest's last order has been carried out. Nothing is taken from the guest before (rule 6). */
function hasArrived({ target, actual, size, orderedAt, figuresAt }: Belief): boolean {
  return isSame(target, actual) && isSame(actual, size) && figuresAt > orderedAt;
}

/** The `count` guests with the least `of`, in ascending order. Not all guests are sorted: there may be thousands, and `count` is small. */
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
