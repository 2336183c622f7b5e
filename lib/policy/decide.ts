/**
 * Step 5, decide: which moves to make now. A function from drafts to moves, by the rules of docs/ballooning.md. `ordered` records in the
 * model what became of the moves.
 */
import type { Account } from './account.js';
import { column, fill, sum } from './allocate.js';
import { cacheOf, freeOf, mostToProbe, noteCut } from './cache.js';
import {
  type Belief,
  charge,
  type Draft,
  Drafts,
  isControlled,
  isMovable,
  isSame,
  type Model,
  mayGive,
  spareNow,
  spareToUse,
  surelyHeld,
  takes,
  untilHelped,
} from './guest.js';
import {
  BALLOON_LATENCY,
  BRISK_RATE,
  BRISK_WITHIN,
  CRITICAL_SPARE,
  EVEN_BAND,
  FIRST_PAUSE,
  FIRST_REFUSED_PAUSE,
  GENTLE_RATE,
  GIVE_MARGIN,
  GROW_BAND,
  GROWTH_REST,
  IN_TRANSIT,
  IN_TRANSIT_FRACTION,
  LAST_REFUSED_PAUSE,
  LEAST_CACHE,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  PACE_FRACTION,
  PACE_WINDOW,
  PAGE,
  REBOOT_BLIND,
  RELIEF_FRACTION,
  RELIEF_STEP,
  RESERVE_MARGIN,
  SAME,
  THRASH_PART,
} from './limits.js';
import { openWindow } from './readings.js';
import { goalOf } from './restore.js';
import type { Move, PolicyConfig, Reason, Sample } from './types.js';

export interface Decision {
  /** In the order in which to carry them out. */
  readonly moves: readonly Move[];
  /** A guest, or the host itself, lacks memory that guests have yet to give. */
  readonly waiting: boolean;
  /** What each donor is asked for, KiB/s. */
  readonly rate: number;
}

/** The guests that a decision is about: all of them, and those with an allocation. `restores` is true on the way back. */
export interface Subjects {
  readonly guests: readonly Belief[];
  readonly claims: readonly Belief[];
  readonly restores: boolean;
}

/** Shrinks go first, then rollbacks, then growth in order of least spare (rule 2). */
export function decide({ guests, claims, restores }: Subjects, sample: Sample, config: PolicyConfig, books: Account): Decision {
  const { at } = sample;
  const free = Math.max(0, books.reliefRoom);
  const shrinking = guests.filter((guest) => guest.target < guest.actual && isMovable(guest));
  const fund = reliefFund(shrinking, books.charged + free);
  const back = takeBack(
    guests.filter(({ rollback }) => rollback !== null),
    free,
    Math.max(0, books.room, (free - books.reserve * RESERVE_MARGIN) * THRASH_PART),
    at,
  );
  const busy = new Set(back.map(({ uuid }) => uuid));
  const starving: Belief[] = [];
  const short: Belief[] = [];
  const optional: Belief[] = [];
  const reading: Belief[] = [];
  const donors: Belief[] = [];
  for (const guest of claims) {
    if (busy.has(guest.uuid) || at < guest.refusedUntil) continue;
    if (at < guest.growAfter && guest.target <= guest.allocation) continue;
    if (needsRelief(guest, at)) starving.push(guest);
    // Somebody else is growing this guest. A smaller target would cut that short.
    else if (guest.rising) continue;
    else if (lacksNeed(guest)) short.push(guest);
    else if (lacking(guest, guest.target)) optional.push(guest);
    else if (books.room >= GROW_BAND && guest.cacheFloor - guest.target >= GROW_BAND) reading.push(guest);
    else if (guest.target > guest.allocation) donors.push(guest);
  }
  let budget = free - cost(back, guests, at);
  // If need has no room, relief grants no more than keeps the guest alive until its next sample.
  const alive = (guest: Belief) => (books.room > 0 ? guest.allocation : Math.min(guest.allocation, criticalNow(guest, at)));
  const relief = grow(starving, alive, budget, at, () => 'relief');
  budget -= cost(relief, starving, at);
  // Relief may spend the fund, other growth may not. Optional growth stops altogether while the host itself is short.
  budget -= free - Math.max(0, books.room);
  const needed = grow(short, ({ allocation, need }) => Math.min(allocation, need), budget - fund, at, growthReason);
  const growing = [...short, ...reading];
  // Cache that is not proven to be in use is paid from what need leaves. No guest gives for it, and no guest waits because of it.
  const rest = budget - fund - cost(needed, short, at);
  const unproven = ({ cacheFloor, ceiling }: Belief) => Math.min(cacheFloor, ceiling);
  const needs = larger(needed, rest < GROW_BAND ? [] : grow(growing, unproven, rest, at, growthReason));
  budget -= cost(needs, growing, at);
  const spent = Math.max(0, books.room) - budget;
  // Close to the reserve, memory that is given would be taken back as soon as the host's figures show it.
  const calm = Math.min(budget - fund, (sample.host.pressure ? 0 : books.available - books.reserve * (1 + RESERVE_MARGIN)) - spent);
  // Up to what it had before memcoord came, a guest grows from memory that is really there.
  const had = ({ allocation, original }: Belief) => Math.min(allocation, original || 0);
  const returned = grow(optional, had, calm, at, growthReason);
  const left = Math.min(calm, books.optionalRoom - spent) - cost(returned, optional, at);
  const cushions = larger(
    returned,
    grow(optional, ({ allocation }) => allocation, left, at, growthReason),
  );

  // If all donors hold less than they need, none has too much, and only larger differences are evened out.
  const band = donors.some(({ target, need }) => target > need) ? GROW_BAND : EVEN_BAND;
  const targets = new Map([...back, ...relief, ...needs].map(({ uuid, to }) => [uuid, to]));
  const waiters = [...starving, ...short].filter((guest) => {
    const target = targets.get(guest.uuid) ?? guest.target;
    return lacking(guest, target, band) && target < guest.need - SAME;
  });
  const taker = most(waiters, ({ need, target }) => need - target)?.name ?? null;
  const ready = donors.filter((guest) => readyToShrink(guest, sample, config, books));
  // Memory that is not needed comes back faster if the host may soon have too little.
  const rate = taker !== null || restores || isShort(books) || books.room < 0 ? briskRate(books) : GENTLE_RATE;
  const taken = take(ready, at, books, { taker, restores, rate, underWay: inTransit(shrinking, at) });
  if (restores) return { moves: [...taken, ...back, ...[...relief, ...needs].map(restoring)], waiting: true, rate };
  const boots = boot(guests, at, books.optionalRoom - spent, books.poolRoom - spent - cost(cushions, optional, at));
  return { moves: [...taken, ...back, ...relief, ...needs, ...cushions, ...boots], waiting: waiters.length > 0 || books.room < 0, rate };
}

/** Of two moves of the same guest, keeps the one that gives it more. */
function larger(moves: readonly Move[], others: readonly Move[]): Move[] {
  const byGuest = new Map(moves.map((each) => [each.uuid, each]));
  for (const each of others) if (each.to > (byGuest.get(each.uuid)?.to ?? 0)) byGuest.set(each.uuid, each);
  return [...byGuest.values()].sort((a, b) => a.spare - b.spare);
}

function restoring(each: Move): Move {
  return { ...each, reason: 'restore' };
}

function most(guests: readonly Belief[], of: (guest: Belief) => number): Belief | undefined {
  return guests.reduce<Belief | undefined>((best, guest) => (best === undefined || of(guest) > of(best) ? guest : best), undefined);
}

/** What donors are asked for, and for whom. */
interface Asked {
  /** The guest that waits for the memory; null = none. */
  readonly taker: string | null;
  readonly restores: boolean;
  /** Asked of each donor, KiB/s. */
  readonly rate: number;
  /** What donors have been asked for and have not given yet, KiB. */
  readonly underWay: number;
}

/**
 * Shrinks donors: free memory before page cache, then the largest excess first. While a guest waits, donors give in small steps, so that
 * little is under way at a time. If the host or the pool is short, steps are limited only by the pace.
 */
function take(donors: readonly Belief[], at: number, books: Account, { taker, restores, rate, underWay }: Asked): Move[] {
  const waiting = taker !== null || restores;
  const over = isShort(books);
  // Small steps, unless the host is short or will soon lack more than a second's worth of the usual pace.
  const inSteps = waiting && !over && !restores && rate <= BRISK_RATE;
  const transit = Math.max(IN_TRANSIT, books.charged * IN_TRANSIT_FRACTION);
  let left = inSteps ? transit - underWay : Number.POSITIVE_INFINITY;
  const moves: Move[] = [];
  const excess = ({ target, allocation }: Belief) => target - allocation;
  // Donors whose shrinks failed before come last, since a guest waits for what is asked of them.
  const doubtful = ({ pause }: Belief) => (pause > FIRST_PAUSE ? 1 : 0);
  // Free memory is taken before page cache, and cache first from the guests that read least for what they hold.
  const urgent = waiting || over;
  const order = (a: Belief, b: Belief) => doubtful(a) - doubtful(b) || readsFor(a) - readsFor(b) || excess(b) - excess(a);
  const free = inSteps ? donors.filter((guest) => doubtful(guest) === 0 && Math.min(freeOf(guest), excess(guest)) >= GIVE_MARGIN) : [];
  // If a whole step is free somewhere, only donors with free memory are asked.
  const freeDonors = free.reduce((sum, guest) => sum + Math.min(freeOf(guest), excess(guest)), 0) >= transit ? free : [];
  const sharers = freeDonors.length === 1 ? 1 : 2;
  for (const guest of (freeDonors.length > 0 ? [...freeDonors] : [...donors]).sort(order)) {
    const { target, ceiling } = guest;
    const probed = urgent ? Number.POSITIVE_INFINITY : mostToProbe(guest, at);
    const rests = at - guest.grownAt < GROWTH_REST || at < guest.restUntil;
    if (!waiting && !over && (rests || at < guest.shrinkAfter)) continue;
    // At least two donors share a step, unless a single one has it free.
    const size = step(guest, { rate, urgent, most: Math.min(probed, inSteps ? Math.min(left, transit / sharers) : left) }, at);
    const to = pages(target - size + PAGE - 1);
    // On the way back, skip small remainders except the last one: a squeezed guest drops cache, and its need falls a little each time.
    if (restores && guest.need > goalOf(guest) + PAGE && target - guest.need < GIVE_MARGIN) continue;
    if (size === 0 || to >= target) continue;
    left -= size;
    const reason = restores ? 'restore' : target > ceiling ? 'bounds' : over ? 'over-capacity' : waiting ? 'make-room' : 'give';
    moves.push(move(guest, to, reason, reason === 'make-room' || reason === 'over-capacity' ? taker : null));
  }
  return moves;
}

/** What a guest reads from disk for each KiB of its page cache, 1/s; 0 if it has free memory to give. */
function readsFor(guest: Belief): number {
  const { readRate } = guest;
  return freeOf(guest) >= GIVE_MARGIN || !(readRate > 0) ? 0 : readRate / Math.max(LEAST_CACHE, cacheOf(guest));
}

/**
 * What shrinking guests have just been asked for and have not given yet. Older orders do not count: a slow or stuck guest must not keep
 * others from giving.
 */
function inTransit(shrinking: readonly Belief[], at: number): number {
  const coming = shrinking.filter(({ orderedAt }) => at - orderedAt <= 2 * BALLOON_LATENCY);
  return coming.reduce((sum, { actual, target }) => sum + actual - target, 0);
}

/**
 * Rule 7: rollbacks are paid from all that is free, the relief fund included. What the guest holds anyway costs nothing. A guest that swaps
 * or faults can live without the memory, so its rollback is limited to `room`, unless the memory was taken while nobody waited.
 */
function takeBack(failed: readonly Belief[], free: number, room: number, at: number): Move[] {
  const moves: Move[] = [];
  let spent = 0;
  for (const guest of failed) {
    const { rollback, target, actual } = guest;
    if (rollback === null || at < guest.refusedUntil || !(isMovable(guest) || guest.phase === 'silent')) continue;
    if (target > actual + SAME) {
      // The growth did not come. The target becomes what the guest has, or the floor again if the guest has less than that.
      const to = Math.max(actual, Math.min(guest.floor, target));
      if (rollback.reason === 'no-progress') moves.push(move(guest, to, rollback.reason));
      continue;
    }
    const wanted = Math.max(rollback.to, actual) + (rollback.reason === 'no-progress' ? SAME : 0);
    // No other guest has been given what was taken while nobody waited.
    const isOnlyUndone = rollback.reason === 'no-progress' || guest.lastReason === 'give';
    // The guest keeps what it holds above its ceiling until it can be asked again.
    const budget = Math.max(0, (isOnlyUndone ? free : room) - spent);
    const to = pages(Math.min(wanted, Math.max(guest.ceiling, actual), surelyHeld(guest, at) + budget));
    if (to - target < SAME) continue;
    spent += Math.max(0, to - surelyHeld(guest, at));
    moves.push(move(guest, to, rollback.reason));
  }
  return moves;
}

/**
 * Rule 17: a guest that reboots within its QEMU process is given its ceiling back as far as there is optional room, before its software
 * sizes itself by the memory that it sees. A booting guest may hold its maximum, so the optional room has counted that already.
 */
function boot(guests: readonly Belief[], at: number, optionalRoom: number, poolRoom: number): Move[] {
  const moves: Move[] = [];
  // A booting guest counts against the pool with its resident memory, and with its target once it is controlled.
  const yet = (target: number, rss: number) => Math.max(0, target - (rss || 0)) || 0;
  const booting = guests.filter(({ phase, rebootedAt }) => phase === 'booting' && Number.isFinite(rebootedAt));
  let left = booting.reduce((room, { target, rss }) => room - yet(target, rss), poolRoom);
  for (const guest of booting) {
    const { rebootedAt, orderedAt, target, ceiling, actual, rss } = guest;
    if (at - rebootedAt >= REBOOT_BLIND || orderedAt >= rebootedAt || at < guest.refusedUntil) continue;
    if (!(guest.restUntil > at) || !(target > 0) || Number.isNaN(actual)) continue;
    const to = pages(Math.min(ceiling + Math.min(0, optionalRoom), left + Math.max(target, rss || 0)));
    if (to - target < SAME) continue;
    left -= yet(to, rss) - yet(target, rss);
    moves.push(move(guest, to, 'boot'));
  }
  return moves;
}

function growthReason({ target, floor, need, used, working, cacheFloor }: Belief): Reason {
  if (target < floor - SAME) return 'bounds';
  const hungry = Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION);
  if (target < Math.max(need, cacheFloor) && Math.max(working, cacheFloor) > 0 && target >= used + hungry) return 'working';
  return target >= need ? 'surplus' : 'need';
}

/** Growth towards `goal`, in order of least spare. */
function grow(
  guests: readonly Belief[],
  goal: (guest: Belief) => number,
  budget: number,
  at: number,
  reason: (guest: Belief) => Reason,
): Move[] {
  const targets = growth(guests, goal, budget, at);
  const moves: Move[] = [];
  guests.forEach((guest, i) => {
    const to = pages(targets[i] ?? guest.target);
    if (to - guest.target >= SAME) moves.push(move(guest, to, reason(guest)));
  });
  return moves.sort((a, b) => a.spare - b.spare);
}

/**
 * Rule 2: growth is paid from memory that is there. The budget goes to the least spare first. No guest gets more than its goal.
 *
 * @returns new targets, KiB, in the order of the guests
 */
export function growth(guests: readonly Belief[], goal: (guest: Belief) => number, budget: number, at: number): Float64Array {
  const base = column(guests, ({ used }) => Math.max(0, used));
  const share = column(guests, (guest) => guest.share);
  const lower = column(guests, (guest) => surelyHeld(guest, at));
  const upper = column(guests, (guest) => Math.max(surelyHeld(guest, at), goal(guest)));
  const filled = fill({ base, share, lower, upper }, sum(lower) + Math.max(0, budget));
  // What a guest holds already costs nothing: a target below `actual` is raised to `actual` for free.
  return column(guests, (guest, i) => Math.max(guest.target, Math.min(goal(guest), filled[i] ?? guest.target)));
}

/** Rounds down to whole pages. */
function pages(size: number): number {
  return Math.floor(size / PAGE) * PAGE;
}

/** What the moves add to the charges of these guests. */
function cost(moves: readonly Move[], guests: readonly Belief[], at: number): number {
  if (moves.length === 0) return 0;
  const held = new Map(guests.map((guest) => [guest.uuid, surelyHeld(guest, at)]));
  return moves.reduce((sum, { uuid, to }) => sum + Math.max(0, to - (held.get(uuid) ?? to)), 0);
}

/** A move of a guest to `to`, with the figures behind it. */
export function move(guest: Belief, to: number, reason: Reason, taker: string | null = null): Move {
  const { uuid, name, target, actual, used, need, allocation } = guest;
  return { uuid, name, from: target, to, reason, actual, used, spare: spareNow(guest), need, allocation, taker };
}

/** Memory kept back for relief while guests are shrunk that may come to need it. Rule 7 raises their targets again from this fund. */
function reliefFund(shrinking: readonly Belief[], capacity: number): number {
  const near = shrinking.filter(({ target, actual, used }) => target < actual - SAME && target - used < LEAST_SPARE);
  return Math.min(near.length * RELIEF_STEP, capacity * RELIEF_FRACTION);
}

/** Rule 8: the guest's present target leaves it less than its critical spare. Computed from policy and target, not from `actual`. */
function needsRelief(guest: Belief, at: number): boolean {
  return isUnder(criticalNow(guest, at), guest.target, guest);
}

function isUnder(critical: number, target: number, { allocation }: Belief): boolean {
  return target < critical - SAME && allocation > target;
}

/** A guest's critical size, plus what it has taken since its figures. Allocation leaves that out, as guests' figures differ in age. */
function criticalNow(guest: Belief, at: number): number {
  const { critical, need, takenAfter } = guest;
  const soon = untilHelped(guest);
  return Math.min(need, critical + takes(guest, soon + at - takenAfter) - takes(guest, soon));
}

/** True if a guest lacks enough of its allocation, `band` or more, to be grown. */
function lacking(guest: Belief, target: number, band = GROW_BAND): boolean {
  const gap = guest.allocation - target;
  // The last step to the ceiling is taken however small it is: no larger one can follow.
  return gap >= band || (gap > 0 && guest.allocation >= Math.floor(guest.ceiling)) || isUnder(guest.critical, target, guest);
}

/** True if a guest lacks enough of its need to be grown. */
function lacksNeed(guest: Belief): boolean {
  return guest.target < guest.need - SAME && lacking(guest, guest.target);
}

/** True if the host or the pool is short, or the host soon will be and already cannot pay need. */
function isShort({ shortage, lack, room }: Account): boolean {
  return shortage > 0 || (lack > 0 && room < 0);
}

/** What each donor is asked for while a guest waits or the host is short, KiB/s. It rises with what the host will soon lack. */
export function briskRate({ lack }: Account): number {
  return Math.max(BRISK_RATE, (1000 * lack) / BRISK_WITHIN);
}

/** Pace of taking from a guest if `rate` is asked of it, KiB/s. */
export function pace({ maximum, speed }: Belief, rate: number): number {
  return Math.max(Math.min(rate, BRISK_RATE), Math.min(maximum * PACE_FRACTION, speed / 2), rate > BRISK_RATE ? Math.min(rate, speed) : 0);
}

/** What may be taken from a guest at `at`, KiB: at most a second's worth of the pace at once. */
function allowance(guest: Belief, rate: number, at: number): number {
  return (pace(guest, rate) * Math.min(PACE_WINDOW, Math.max(0, at - guest.paidAt))) / 1000;
}

/** Rule 6: the figures are fresh, of the balloon's present size, and newer than the last order, which has been carried out. */
function readyToShrink(guest: Belief, sample: Sample, config: PolicyConfig, books: Account): boolean {
  const period = (sample.contexts.get(guest.uuid)?.statsPeriod ?? 0) * 1000;
  const fresh = sample.at - guest.figuresAt <= 2 * Math.max(period, config.intervalMs) + 1000;
  const settled = isSame(guest.actual, guest.target) && isSame(guest.actual, guest.size) && guest.figuresAt > guest.orderedAt;
  return guest.phase === 'steady' && fresh && settled && guest.paired && mayGive(guest, sample.at, books);
}

/**
 * What is taken from a guest that holds more than its allocation, KiB; 0 if nothing is, or if it is not worth a call.
 *
 * Rules 5 (never below the floor, which the allocation respects, nor into the critical spare, which a low ceiling may cut into), 7 (bounded
 * steps: the pace, and never more than half of the spare) and 14 (least move, unless it is urgent). `most` is the most that may be taken in
 * this sample.
 */
export function step(guest: Belief, { rate, urgent, most }: { rate: number; urgent: boolean; most: number }, at: number): number {
  const excess = guest.target - guest.allocation;
  if (urgent ? excess < SAME : excess <= 2 * GIVE_MARGIN) return 0;
  // Subtract what the guest has taken since its figures, and what it will take until it can be helped again.
  const soon = (guest.trend * (at - guest.takenAfter + guest.reaction)) / 1000;
  const spare = spareToUse(guest) - soon;
  const taken = Math.min(urgent ? excess : excess - GIVE_MARGIN, most, allowance(guest, rate, at), spare / 2, spare - CRITICAL_SPARE);
  return taken < (urgent ? SAME : Math.min(GIVE_MARGIN, Math.max(SAME, spare / 2))) ? 0 : taken;
}

/** What became of a move. */
export interface Order {
  readonly move: Move;
  /** `unknown`: the call timed out. The higher charge is kept until a sample shows the balloon (rule 11). */
  readonly outcome: 'stored' | 'failed' | 'unknown';
}

/** Records in the model what became of the moves of a plan. */
export function ordered(model: Model, orders: readonly Order[], at: number): Model {
  if (orders.length === 0) return model;
  const byGuest = new Map(orders.map((order) => [order.move.uuid, order]));
  const drafts = new Drafts(model, model.guests.length);
  model.guests.forEach(({ uuid }, row) => {
    const draft = drafts.keep(row);
    const order = byGuest.get(uuid);
    if (order !== undefined) note(draft, order, at, model.rate);
  });
  return { ...model, guests: drafts.guests, numbers: drafts.numbers };
}

function note(draft: Draft, { move, outcome }: Order, at: number, rate: number): void {
  if (outcome === 'failed') {
    draft.refusedUntil = at + draft.refusedPause;
    draft.refusedPause = Math.min(2 * draft.refusedPause, LAST_REFUSED_PAUSE);
    return;
  }
  const before = charge(draft);
  if (move.to < move.from) noteCut(draft, move.to, at);
  if (outcome === 'unknown') {
    // The call timed out, and the next one may as well.
    draft.refusedUntil = at + draft.refusedPause;
    draft.refusedPause = Math.min(2 * draft.refusedPause, LAST_REFUSED_PAUSE);
  } else draft.refusedPause = FIRST_REFUSED_PAUSE;
  draft.target = outcome === 'unknown' ? Math.max(move.from, move.to) : move.to;
  draft.orderedAt = at;
  draft.orderedFrom = move.from;
  draft.orderedTo = move.to;
  openWindow(draft, at);
  // A rollback that could be paid only in part stays open.
  if (move.to < move.from || move.to >= (draft.rollback?.to ?? 0) - SAME) draft.rollback = null;
  draft.lastReason = move.reason;
  // What is given in need will be taken. A cushion may or may not be, and a booting guest may take its maximum anyway.
  if (isControlled(draft) && move.reason !== 'surplus') draft.granted = Math.max(0, draft.granted + charge(draft) - before);
  if (move.to >= move.from) {
    draft.grownAt = at;
    return;
  }
  // Undoing a growth takes nothing from the guest.
  if (move.reason === 'no-progress') return;
  const taken = Math.max(0, Math.min(draft.actual, move.from) - move.to);
  draft.paidAt = Math.max(draft.paidAt, at - PACE_WINDOW) + (taken / pace(draft, rate)) * 1000;
  draft.shrunkAt = at;
  draft.shrunkFrom = move.from;
}
