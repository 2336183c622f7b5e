/** The policy: model → demand → allocation → safety → moves. Pure: the same model, look and configuration give the same plan. */
import { formatSize } from '../units.js';
import type { Allocation, Claim } from './allocation.js';
import { allocate } from './allocation.js';
import { demand, effectiveFloor, lookInterval, reactionTime, survivableBurst } from './demand.js';
import { MiB } from '../units.js';
import { PAGE, SAME } from './limits.js';
import type { Belief, HostState, Model } from './model.js';
import { charge, observe, spareNow } from './model.js';
import type { Account, Part } from './safety.js';
import { account, growth, movable, needsRelief, readyToShrink, reliefFund, shrink } from './safety.js';
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
  const moves = decide(parts, look, config, books, reliefFund(model.guests, books.capacity));
  const told = announce({ ...model, guests: model.guests }, state, look, books, notices);
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
    const { floor, ceiling } = { floor: effectiveFloor(belief), ceiling: belief.ceiling };
    const claim: Claim = { ...demand(belief, reactionMs, config), floor, ceiling, share: belief.share, holds: charge(belief) };
    return { belief, claim, reactionMs };
  });
  const fixed = books.charged - guests.reduce((sum, belief) => sum + charge(belief), 0);
  const { state, sizes } = allocate(claims.map(({ claim }) => claim), books.capacity - fixed, config.surplus);
  const parts = claims.map((entry, i) => ({ ...entry, size: grain(sizes[i] ?? entry.claim.need, entry.claim) }));
  return { parts, state: fixed > books.capacity ? 'overcommitted' : state };
}

/** Whole MiB, downwards so that the sum holds, but within the guest's bounds. */
function grain(size: number, { floor, ceiling }: Claim): number {
  return Math.min(Math.floor(ceiling), Math.max(Math.ceil(floor), Math.floor(size / GRAIN) * GRAIN));
}

/** Steps 3 and 4. Shrinks go first, then growth in order of least spare (rule 2). */
function decide(parts: readonly PlannedPart[], look: Look, config: PolicyConfig, books: Account, fund: number): Move[] {
  const free = books.capacity - books.charged;
  const back = parts.filter(({ belief }) => belief.rollback !== null);
  const rest = parts.filter(({ belief }) => belief.rollback === null);

  const rollbacks: Move[] = [];
  let money = Math.max(0, free);
  for (const part of back) {
    // Rule 7, out of what is free, the relief fund included; what the guest holds anyway costs nothing.
    const { belief } = part;
    const wanted = Math.max(belief.rollback?.to ?? belief.target, belief.actual) + (belief.rollback?.reason === 'no-progress' ? SAME : 0);
    const to = pages(Math.min(wanted, belief.ceiling, charge(belief) + money));
    money -= Math.max(0, to - charge(belief));
    if (to > belief.target) rollbacks.push(move(part, to, belief.rollback?.reason ?? 'relief'));
  }

  // Relief may spend the fund; other growth may not, and waits altogether while the host itself is short.
  const relieved = growth(rest.filter(needsRelief), money);
  const relief = collect(rest.filter(needsRelief), relieved, 'relief');
  money -= cost(relief, parts);
  const others = rest.filter((part) => !needsRelief(part));
  const spendable = look.host.pressure ? 0 : Math.max(0, money - fund);
  const grown = growth(others, spendable);
  const grows = look.host.pressure ? [] : collect(others, grown, (part) => growthReason(part));

  const waits = [...relief, ...grows, ...rollbacks];
  const short = rest.some((part) => {
    const granted = waits.find((each) => each.uuid === part.belief.uuid)?.to ?? part.belief.target;
    return part.size - granted > SAME && part.size - part.belief.target >= SAME * 8;
  });
  const over = free < 0;
  const moving = new Set(waits.map((each) => each.uuid));
  const shrinks: Move[] = [];
  for (const part of rest) {
    const { belief } = part;
    if (moving.has(belief.uuid) || !readyToShrink(belief, look, look.contexts.get(belief.uuid), config)) continue;
    const to = pages(shrink(part, short || over, look.at) + PAGE - 1);
    if (to >= belief.target) continue;
    const reason: Reason = belief.target > belief.ceiling ? 'bounds' : over ? 'over-capacity' : short ? 'make-room' : 'give';
    shrinks.push(move(part, to, reason));
  }
  return [...shrinks, ...rollbacks, ...relief, ...grows];
}

function growthReason({ belief, claim }: Part): Reason {
  if (belief.target < claim.floor - SAME) return 'bounds';
  return belief.target >= claim.need ? 'surplus' : 'need';
}

function collect(parts: readonly Part[], targets: Float64Array, reason: Reason | ((part: Part) => Reason)): Move[] {
  const moves: Move[] = [];
  parts.forEach((part, i) => {
    const to = pages(targets[i] ?? part.belief.target);
    if (to - part.belief.target < SAME) return;
    moves.push(move(part, to, typeof reason === 'function' ? reason(part) : reason));
  });
  return moves.sort((a, b) => a.spare - b.spare);
}

/** Whole pages, downwards. */
function pages(size: number): number {
  return Math.floor(size / PAGE) * PAGE;
}

/** What moves add to the charges. */
function cost(moves: readonly Move[], parts: readonly Part[]): number {
  const charges = new Map(parts.map(({ belief }) => [belief.uuid, charge(belief)]));
  return moves.reduce((sum, { uuid, to }) => sum + Math.max(0, to - (charges.get(uuid) ?? 0)), 0);
}

function move({ belief, claim, size }: Part, to: number, reason: Reason): Move {
  return {
    uuid: belief.uuid, name: belief.name, from: belief.target, to, reason, actual: belief.actual, used: claim.used, spare: spareNow(belief),
    need: claim.need, allocation: size,
  };
}

const TOLD: Readonly<Record<HostState, (books: Account) => Pick<Notice, 'kind' | 'level' | 'message'>>> = {
  ample: () => ({ kind: 'contention-ended', level: 'info', message: 'there is room for every guest again' }),
  contended: (books) => ({
    kind: 'contended', level: 'info', message: `the guests need more than the ${formatSize(books.capacity)} there are: spare is being shared out`,
  }),
  overcommitted: (books) => ({
    kind: 'overcommitted', level: 'warn',
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
        ? { kind: 'host-pressure', level: 'warn', message: 'the host itself is short of memory: no guest grows but in need', figures: { available: look.host.available } }
        : { kind: 'host-pressure-ended', level: 'info', message: 'the host has memory again', figures: { available: look.host.available } },
    );
  }
  return { ...model, state, stateSince: since, told: tell ? state : model.told, pressure: look.host.pressure };
}
