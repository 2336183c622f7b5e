/** The policy: model → demand → allocation → safety → moves. Pure: the same model, look and configuration give the same plan. */
import { formatSize, MiB } from '../units.js';
import type { Allocation, Claim } from './allocation.js';
import { allocate } from './allocation.js';
import type { Belief, HostState, Model } from './belief.js';
import { charge, spareNow } from './belief.js';
import { demand, effectiveFloor, lookInterval, reactionTime, survivableBurst } from './demand.js';
import { BALLOON_LATENCY, FIRST_PAUSE, GROW_BAND, GROWTH_REST, IN_TRANSIT, IN_TRANSIT_FRACTION, PAGE, SAME } from './limits.js';
import { observe } from './model.js';
import type { Account, Part } from './safety.js';
import { account, growth, movable, needsRelief, readyToShrink, reliefFund, step } from './safety.js';
import type { Look, Move, Notice, PolicyConfig, Reason } from './types.js';

/** What the plan makes of one guest, in the order of the model's guests. NaN where its figures are not known. KiB. */
export interface Assessment {
  readonly belief: Belief;
  readonly need: number;
  readonly allocation: number;
  /** KiB/s that it would survive right now. */
  readonly survivableBurst: number;
}

export interface Plan {
  /** The model after this look. Moves are not in it until `ordered` notes them. */
  readonly model: Model;
  readonly moves: readonly Move[];
  readonly notices: readonly Notice[];
  readonly assessments: readonly Assessment[];
  readonly account: Account;
  readonly state: HostState;
}

/** Moves are whole MiB, as the balloon's are. */
const GRAIN = MiB;
/** A state of the host is told when it has held for this long. */
const STATE_HOLDS = 5000;

/**
 * Plans the moves for one look at the host.
 *
 * Give it the model of the last plan (`EMPTY_MODEL` at first), carry the moves out in their order, and note each with `ordered`.
 */
export function plan(before: Model, look: Look, config: PolicyConfig): Plan {
  const { model, notices } = observe(before, look, config);
  const books = account(model.guests, look, config);
  const { parts, state } = share(model, look, config, books);
  const { moves, waiting } = decide(model, parts, look, config, books);
  const told = announce({ ...model, waiting }, state, look, books, notices);
  const bySize = new Map(parts.map((part) => [part.belief.uuid, part]));
  const assessments = model.guests.map((belief): Assessment => {
    const part = bySize.get(belief.uuid);
    return {
      belief,
      need: part?.claim.need ?? Number.NaN,
      allocation: part?.size ?? Number.NaN,
      survivableBurst: part === undefined ? Number.NaN : survivableBurst(belief, part.reactionMs),
    };
  });
  return { model: told, moves, notices, assessments, account: books, state };
}

type PlannedPart = Part & { readonly reactionMs: number };

/** Steps 1 and 2 over the guests that can be moved; the others are charged first. */
function share(model: Model, look: Look, config: PolicyConfig, books: Account): { parts: PlannedPart[]; state: Allocation['state'] } {
  const guests = model.guests.filter(movable);
  const lookMs = lookInterval(guests.length, config);
  const claims = guests.map((belief) => {
    const period = (look.contexts.get(belief.uuid)?.statsPeriod ?? 0) * 1000;
    const reactionMs = reactionTime(lookMs, period, config);
    const { ceiling, share } = belief;
    const claim: Claim = { ...demand(belief, reactionMs, config), floor: effectiveFloor(belief), ceiling, share, holds: charge(belief) };
    return { belief, claim, reactionMs };
  });
  const fixed = books.charged - guests.reduce((sum, belief) => sum + charge(belief), 0);
  const { state, sizes } = allocate(
    claims.map(({ claim }) => claim),
    books.capacity - fixed,
    config.surplus,
  );
  const parts = claims.map((entry, i) => ({ ...entry, size: grain(sizes[i] ?? entry.claim.need, entry.claim) }));
  return { parts, state: fixed > books.capacity ? 'overcommitted' : state };
}

/** Whole MiB, downwards so that the sum holds, but within the guest's bounds. */
function grain(size: number, { floor, ceiling }: Claim): number {
  return Math.min(Math.floor(ceiling), Math.max(Math.ceil(floor), Math.floor(size / GRAIN) * GRAIN));
}

/** Steps 3 and 4. Shrinks go first, then what is taken back, then growth in order of least spare (rule 2). */
function decide(
  model: Model,
  parts: readonly PlannedPart[],
  look: Look,
  config: PolicyConfig,
  books: Account,
): { moves: Move[]; waiting: boolean } {
  const free = books.capacity - books.charged;
  const fund = reliefFund(model.guests, books.capacity);
  const byGuest = new Map(parts.map((part) => [part.belief.uuid, part]));

  const rollbacks = takeBack(model.guests, byGuest, Math.max(0, free), look.at);
  let money = Math.max(0, free) - cost(rollbacks, model.guests);
  const backed = new Set(rollbacks.map(({ uuid }) => uuid));
  const rest = parts.filter(({ belief }) => !backed.has(belief.uuid) && look.at >= belief.refusedUntil);

  // Relief may spend the fund; other growth may not, and waits altogether while the host itself is short.
  const needy = rest.filter(needsRelief);
  const relief = collect(needy, growth(needy, money), () => 'relief');
  money -= cost(relief, model.guests);
  const others = rest.filter((part) => !needsRelief(part));
  const grows = look.host.pressure ? [] : collect(others, growth(others, Math.max(0, money - fund)), growthReason);

  const up = new Map([...rollbacks, ...relief, ...grows].map((each) => [each.uuid, each.to]));
  const waits = ({ belief, size }: Part) => size - Math.max(belief.target, up.get(belief.uuid) ?? 0) >= GROW_BAND;
  const waiting = rest.some(waits);
  const donors = rest.filter(({ belief }) => !up.has(belief.uuid) && readyToShrink(belief, look, look.contexts.get(belief.uuid), config));
  const shrinks = take(donors, look.at, books, waiting, inTransit(model.guests, look.at));
  return { moves: [...shrinks, ...rollbacks, ...relief, ...grows], waiting };
}

/** Shrinks, those with the largest excess first. What waits for is given in small steps, so that little is under way at a time. */
function take(donors: readonly PlannedPart[], at: number, books: Account, waiting: boolean, underWay: number): Move[] {
  const over = books.charged > books.capacity;
  const transit = Math.max(IN_TRANSIT, books.capacity * IN_TRANSIT_FRACTION);
  let money = waiting && !over ? transit - underWay : Number.POSITIVE_INFINITY;
  const moves: Move[] = [];
  const excess = ({ belief, size }: Part) => belief.target - size;
  // Those that failed before come last: others wait for what is asked for.
  const doubtful = ({ belief }: Part) => (belief.pause > FIRST_PAUSE ? 1 : 0);
  for (const part of [...donors].sort((a, b) => doubtful(a) - doubtful(b) || excess(b) - excess(a))) {
    const { belief } = part;
    if (!waiting && !over && at - belief.grownAt < GROWTH_REST) continue;
    // At least two donors share a step.
    const taken = step(part, waiting || over, at, Math.min(money, waiting && !over ? transit / 2 : money));
    const to = pages(belief.target - taken + PAGE - 1);
    if (taken === 0 || to >= belief.target) continue;
    money -= taken;
    moves.push(move(belief, part, to, belief.target > belief.ceiling ? 'bounds' : over ? 'over-capacity' : waiting ? 'make-room' : 'give'));
  }
  return moves;
}

/** What guests have just been asked for and have not given yet. A slow or stuck one must not keep the others from giving. */
function inTransit(guests: readonly Belief[], at: number): number {
  const coming = guests.filter((belief) => movable(belief) && at - belief.orderedAt <= 2 * BALLOON_LATENCY);
  return coming.reduce((sum, belief) => sum + Math.max(0, belief.actual - belief.target), 0);
}

/** Rule 7, out of all that is free, the relief fund included; what the guest holds anyway costs nothing. */
function takeBack(guests: readonly Belief[], parts: ReadonlyMap<string, Part>, free: number, at: number): Move[] {
  const moves: Move[] = [];
  let money = free;
  for (const belief of guests) {
    const { rollback } = belief;
    if (rollback === null || at < belief.refusedUntil || !(movable(belief) || belief.phase === 'silent')) continue;
    if (belief.target > belief.actual) {
      // A growth that did not come: the call asks for what the guest has, or, where that is under its floor, once more for the floor.
      const to = Math.max(belief.actual, Math.min(belief.floor, belief.target));
      if (rollback.reason === 'no-progress') moves.push(move(belief, parts.get(belief.uuid), to, rollback.reason));
      continue;
    }
    const wanted = Math.max(rollback.to, belief.actual) + (rollback.reason === 'no-progress' ? SAME : 0);
    const to = pages(Math.min(wanted, belief.ceiling, charge(belief) + money));
    if (to - belief.target < SAME) continue;
    money -= Math.max(0, to - charge(belief));
    moves.push(move(belief, parts.get(belief.uuid), to, rollback.reason));
  }
  return moves;
}

function growthReason({ belief, claim }: Part): Reason {
  if (belief.target < claim.floor - SAME) return 'bounds';
  return belief.target >= claim.need ? 'surplus' : 'need';
}

function collect(parts: readonly Part[], targets: Float64Array, reason: (part: Part) => Reason): Move[] {
  const moves: Move[] = [];
  parts.forEach((part, i) => {
    const to = pages(targets[i] ?? part.belief.target);
    if (to - part.belief.target >= SAME) moves.push(move(part.belief, part, to, reason(part)));
  });
  return moves.sort((a, b) => a.spare - b.spare);
}

/** Whole pages, downwards. */
function pages(size: number): number {
  return Math.floor(size / PAGE) * PAGE;
}

/** What moves add to the charges. */
function cost(moves: readonly Move[], guests: readonly Belief[]): number {
  const charges = new Map(guests.map((belief) => [belief.uuid, charge(belief)]));
  return moves.reduce((sum, { uuid, to }) => sum + Math.max(0, to - (charges.get(uuid) ?? 0)), 0);
}

function move(belief: Belief, part: Part | undefined, to: number, reason: Reason): Move {
  const { uuid, name, target, actual, used } = belief;
  const need = part?.claim.need ?? Number.NaN;
  const allocation = part?.size ?? Number.NaN;
  return { uuid, name, from: target, to, reason, actual, used, spare: spareNow(belief), need, allocation };
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

/** Tells a state of the host once, when it has held for a while. */
function announce(model: Model, state: HostState, look: Look, books: Account, notices: Notice[]): Model {
  const since = state === model.state ? model.stateSince : look.at;
  const tell = state !== model.told && look.at - since >= STATE_HOLDS;
  const figures = { capacity: books.capacity, charged: books.charged };
  if (tell) notices.push({ ...TOLD[state](books), figures });
  if (look.host.pressure !== model.pressure) {
    notices.push(
      look.host.pressure
        ? {
            kind: 'host-pressure',
            level: 'warn',
            message: 'the host itself is short of memory: no guest grows but in need',
            figures: { available: look.host.available },
          }
        : { kind: 'host-pressure-ended', level: 'info', message: 'the host has memory again', figures: { available: look.host.available } },
    );
  }
  return { ...model, state, stateSince: since, told: tell ? state : model.told, pressure: look.host.pressure };
}
