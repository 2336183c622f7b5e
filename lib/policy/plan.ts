/** The policy: model → demand → allocation → safety → moves. Pure: the same model, sample and configuration give the same plan. */
import { formatSize, MiB } from '../common/units.js';
import { allocate } from './allocate.js';
import { type Account, account, growth, lacking, movable, needsRelief, readyToShrink, reliefFund, step } from './decide.js';
import { couldGive, demand, isCovered, reactions, reactionTime, relayedFor, survivableBurst } from './demand.js';
import { isIdle, observe } from './estimate.js';
import { type Belief, charge, type Draft, type HostState, type Model, spareNow, surelyHeld } from './guest.js';
import {
  BALLOON_LATENCY,
  EVEN_BAND,
  FIRST_PAUSE,
  GROW_BAND,
  GROWTH_REST,
  IN_TRANSIT,
  IN_TRANSIT_FRACTION,
  PAGE,
  RESERVE_MARGIN,
  SAME,
} from './limits.js';
import type { Move, Notice, PolicyConfig, Reason, Sample } from './types.js';

export interface Plan {
  /** The model after this sample, with what the plan made of each guest. Moves are not in it until `ordered` notes them. */
  readonly model: Model;
  readonly moves: readonly Move[];
  readonly notices: readonly Notice[];
  readonly account: Account;
  readonly state: HostState;
}

const REFUSAL: Notice = {
  kind: 'no-refresh',
  level: 'info',
  message:
    'this hypervisor does not let guests be asked for new figures at once: they are read as they come, and keep more spare memory for it',
};
/** Moves are whole MiB, as the balloon's are. */
const GRAIN = MiB;
/** A state of the host is told when it has held for this long. */
const STATE_HOLDS = 5000;

/**
 * Plans the moves for one sample of the host.
 *
 * Give it the model of the last plan (`EMPTY_MODEL` at first), carry the moves out in their order, and note them with `ordered`.
 */
export function plan(before: Model, sample: Sample, config: PolicyConfig): Plan {
  const { drafts, notices } = observe(before, sample, config);
  const { guests, numbers } = drafts;
  const books = account(guests, sample, config, before.rooms);
  const state = share(guests, sample, config, books);
  const { moves, waiting } = decide(guests, sample, config, books);
  const { at, host } = sample;
  const stateSince = state === before.state ? before.stateSince : at;
  const tell = state !== before.told && at - stateSince >= STATE_HOLDS;
  if (tell) notices.push({ ...TOLD[state](books), figures: { capacity: books.capacity, charged: books.charged } });
  if (host.pressure !== before.pressure) notices.push(pressureNotice(host));
  const reserveInDanger = host.available < books.reserve * (before.reserveInDanger ? 1 + RESERVE_MARGIN : 1);
  if (reserveInDanger !== before.reserveInDanger) notices.push(reserveNotice(host, books));
  const told = tell ? state : before.told;
  const refusal = guests.some(({ refusesRefresh }) => refusesRefresh);
  if (refusal && !before.toldRefusal) notices.push(REFUSAL);
  const toldRefusal = before.toldRefusal || refusal;
  const model: Model = {
    at,
    guests,
    numbers,
    told,
    state,
    stateSince,
    pressure: host.pressure,
    reserveInDanger,
    toldRefusal,
    waiting,
    rooms: books.rooms,
  };
  return { model, moves, notices, account: books, state };
}

/** Steps 1 and 2 over the guests that can be moved; the others are charged first. */
function share(guests: readonly Draft[], sample: Sample, config: PolicyConfig, books: Account): HostState {
  const claims = guests.filter(movable);
  const reaction = reactions(claims, config);
  const periodOf = ({ uuid }: Belief) => (sample.contexts.get(uuid)?.statsPeriod ?? 0) * 1000;
  const free = books.capacity - books.charged;
  let fixed = books.charged;
  for (const draft of claims) {
    demand(draft, reaction(draft, periodOf(draft)), config);
    draft.holds = charge(draft);
    fixed -= draft.holds;
  }
  const { state, sizes } = allocate(claims, books.capacity - fixed, config.surplus);
  let gives = 0;
  claims.forEach((draft, i) => {
    draft.allocation = grain(sizes[i] ?? draft.need, draft);
    gives += couldGive(draft, reaction(draft, periodOf(draft)), sample.at);
  });
  // No more than is on its way at a time, from order to order, KiB/s.
  const passedOn = (mostInTransit(books) * 1000) / (2 * BALLOON_LATENCY);
  const lacks = ({ need, allocation, target }: Belief) => Math.max(need, allocation) - target >= GROW_BAND;
  const short = claims.filter(lacks).length;
  for (const draft of claims) {
    const period = periodOf(draft);
    // One that seems safe is left to the sweeps.
    const reactionMs = isCovered(draft, period, config) ? reactionTime(config.intervalMs, period, config) : reaction(draft, period);
    const others = Math.min(gives - couldGive(draft, reactionMs, sample.at), passedOn * relayedFor(reactionMs));
    const timedFor = isIdle(draft, sample.at) ? Number.POSITIVE_INFINITY : Math.max(draft.trend, config.burstKiBs);
    const takers = short + (lacks(draft) ? 0 : 1);
    draft.survivableBurst = survivableBurst(draft, reactionMs, { free, gives: others, timedFor, takers, inNeedOnly: sample.host.pressure });
  }
  return fixed > books.capacity ? 'overcommitted' : state;
}

/** Whole MiB, downwards so that the sum holds, but within the guest's bounds. */
function grain(size: number, { effectiveFloor, ceiling }: Belief): number {
  return Math.min(Math.floor(ceiling), Math.max(Math.ceil(effectiveFloor), Math.floor(size / GRAIN) * GRAIN));
}

/** Steps 3 and 4. Shrinks go first, then what is taken back, then growth in order of least spare (rule 2). */
function decide(guests: readonly Draft[], sample: Sample, config: PolicyConfig, books: Account): { moves: Move[]; waiting: boolean } {
  const { at } = sample;
  const free = Math.max(0, books.capacity - books.charged - unasked(guests, config));
  const shrinking = guests.filter((draft) => draft.target < draft.actual && movable(draft));
  const fund = reliefFund(shrinking, books.capacity);
  const failed = guests.filter(({ rollback }) => rollback !== null);
  const rollbacks = takeBack(failed, free, at);
  let budget = free - cost(failed, at);

  const needy: Draft[] = [];
  const short: Draft[] = [];
  const rich: Draft[] = [];
  for (const draft of guests) {
    if (!movable(draft) || draft.planned > 0 || at < draft.refusedUntil) continue;
    if (needsRelief(draft)) needy.push(draft);
    // What somebody else is giving it must not be cut short by a grant of less.
    else if (draft.rising) continue;
    else if (lacking(draft)) short.push(draft);
    else if (draft.target > draft.allocation) rich.push(draft);
  }
  // Relief may spend the fund; other growth may not, and waits altogether while the host itself is short.
  const relief = grow(needy, budget, at, () => 'relief');
  budget -= cost(needy, at);
  const grows = sample.host.pressure ? [] : grow(short, Math.max(0, budget - fund), at, growthReason);

  // Nobody is rich where all hold less than they need.
  const band = rich.some(({ target, need }) => target > need) ? GROW_BAND : EVEN_BAND;
  const waits = (draft: Draft) => lacking(draft, Math.max(draft.target, draft.planned || 0), band);
  const waiting = needy.some(waits) || short.some(waits);
  const donors = rich.filter((draft) => readyToShrink(draft, sample, sample.contexts.get(draft.uuid), config));
  const shrinks = take(donors, at, books, waiting, inTransit(shrinking, at));
  return { moves: [...shrinks, ...rollbacks, ...relief, ...grows], waiting };
}

/** Shrinks, those with the largest excess first. What waits for is given in small steps, so that little is under way at a time. */
function take(donors: readonly Draft[], at: number, books: Account, waiting: boolean, underWay: number): Move[] {
  const over = books.charged > books.capacity;
  const transit = mostInTransit(books);
  let budget = waiting && !over ? transit - underWay : Number.POSITIVE_INFINITY;
  const moves: Move[] = [];
  const excess = ({ target, allocation }: Belief) => target - allocation;
  // Those that failed before come last: others wait for what is asked for.
  const doubtful = ({ pause }: Belief) => (pause > FIRST_PAUSE ? 1 : 0);
  for (const draft of [...donors].sort((a, b) => doubtful(a) - doubtful(b) || excess(b) - excess(a))) {
    const { target, ceiling } = draft;
    if (!waiting && !over && at - draft.grownAt < GROWTH_REST) continue;
    // At least two donors share a step.
    const taken = step(draft, waiting || over, at, Math.min(budget, waiting && !over ? transit / 2 : budget));
    const to = pages(target - taken + PAGE - 1);
    if (taken === 0 || to >= target) continue;
    budget -= taken;
    moves.push(move(draft, to, target > ceiling ? 'bounds' : over ? 'over-capacity' : waiting ? 'make-room' : 'give'));
  }
  return moves;
}

/** What guests that somebody else is raising may take until they are seen again. */
function unasked(guests: readonly Belief[], { intervalMs }: PolicyConfig): number {
  const rising = guests.filter((belief) => belief.rising);
  return rising.reduce((sum, belief) => sum + Math.min(belief.maximum - charge(belief), (belief.speed * intervalMs) / 1000), 0);
}

function mostInTransit({ capacity }: Account): number {
  return Math.max(IN_TRANSIT, capacity * IN_TRANSIT_FRACTION);
}

/** What shrinking guests have just been asked for and have not given yet. A slow or stuck one must not keep the others from giving. */
function inTransit(shrinking: readonly Belief[], at: number): number {
  const coming = shrinking.filter(({ orderedAt }) => at - orderedAt <= 2 * BALLOON_LATENCY);
  return coming.reduce((sum, { actual, target }) => sum + actual - target, 0);
}

/** Rule 7, out of all that is free, the relief fund included; what the guest holds anyway costs nothing. */
function takeBack(failed: readonly Draft[], free: number, at: number): Move[] {
  const moves: Move[] = [];
  let budget = free;
  for (const draft of failed) {
    const { rollback } = draft;
    if (rollback === null || at < draft.refusedUntil || !(movable(draft) || draft.phase === 'silent')) continue;
    const { target, actual } = draft;
    if (target > actual) {
      // A growth that did not come: the call asks for what the guest has, or, where that is under its floor, once more for the floor.
      const to = Math.max(actual, Math.min(draft.floor, target));
      if (rollback.reason === 'no-progress') moves.push(move(draft, to, rollback.reason));
      continue;
    }
    const wanted = Math.max(rollback.to, actual) + (rollback.reason === 'no-progress' ? SAME : 0);
    // What it holds above its ceiling it keeps, until it can be asked again.
    const to = pages(Math.min(wanted, Math.max(draft.ceiling, actual), surelyHeld(draft, at) + budget));
    if (to - target < SAME) continue;
    budget -= Math.max(0, to - surelyHeld(draft, at));
    moves.push(move(draft, to, rollback.reason));
  }
  return moves;
}

function growthReason({ target, effectiveFloor, need }: Belief): Reason {
  if (target < effectiveFloor - SAME) return 'bounds';
  return target >= need ? 'surplus' : 'need';
}

function grow(short: readonly Draft[], budget: number, at: number, reason: (belief: Belief) => Reason): Move[] {
  const targets = growth(short, budget, at);
  const moves: Move[] = [];
  short.forEach((draft, i) => {
    const to = pages(targets[i] ?? draft.target);
    if (to - draft.target >= SAME) moves.push(move(draft, to, reason(draft)));
  });
  return moves.sort((a, b) => a.spare - b.spare);
}

/** Whole pages, downwards. */
function pages(size: number): number {
  return Math.floor(size / PAGE) * PAGE;
}

/** What the moves planned so far add to the guests' charges. */
function cost(guests: readonly Belief[], at: number): number {
  let more = 0;
  for (const belief of guests) if (belief.planned > 0) more += Math.max(0, belief.planned - surelyHeld(belief, at));
  return more;
}

function move(draft: Draft, to: number, reason: Reason): Move {
  const { uuid, name, target, actual, used, need, allocation } = draft;
  draft.planned = to;
  return { uuid, name, from: target, to, reason, actual, used, spare: spareNow(draft), need, allocation };
}

const TOLD: Readonly<Record<HostState, (books: Account) => Pick<Notice, 'kind' | 'level' | 'message'>>> = {
  ample: () => ({ kind: 'contention-ended', level: 'info', message: 'there is room for every guest again' }),
  contended: (books) => ({
    kind: 'contended',
    level: 'info',
    message: `the guests need more than the ${formatSize(books.capacity)} there are: spare is being shared out`,
  }),
  overcommitted: (books) => ({
    kind: 'overcommitted',
    level: 'warn',
    message: `the guests use more than the ${formatSize(books.capacity)} there are can keep safe: stop or move a guest, enlarge the pool, or add memory`,
  }),
};

function pressureNotice({ pressure, available }: Sample['host']): Notice {
  const figures = { available };
  return pressure
    ? { kind: 'host-pressure', level: 'warn', message: 'the host itself is short of memory: no guest grows but in need', figures }
    : { kind: 'host-pressure-ended', level: 'info', message: 'the host has memory again', figures };
}

function reserveNotice({ available }: Sample['host'], { reserve }: Account): Notice {
  const figures = { available, reserve };
  const message =
    `the host has ${formatSize(available)} available, less than its reserve of ${formatSize(reserve)}: something other than the guests' ` +
    'balloons takes memory (ps aux --sort=-rss | head tells what); end it, stop or move a guest, or set a smaller reserve';
  return available < reserve
    ? { kind: 'reserve-in-danger', level: 'warn', message, figures }
    : { kind: 'reserve-safe', level: 'info', message: `the host's reserve is whole again: ${formatSize(available)} available`, figures };
}
