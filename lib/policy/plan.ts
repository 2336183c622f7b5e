/** The policy: estimate → demand → account → allocate → decide. Pure: the same model, sample and configuration give the same plan. */
import { MiB } from '../common/units.js';
import { type Account, account, availableOf } from './account.js';
import { allocate, type Claim } from './allocate.js';
import { decide } from './decide.js';
import { demand, reactions } from './demand.js';
import { estimate } from './estimate.js';
import { type Belief, charge, type Draft, type HostState, isMovable, type Model, mayGive } from './guest.js';
import { DRAIN_HALVES, RESERVE_MARGIN, STATE_HOLDS } from './limits.js';
import { aim, isRestorable } from './restore.js';
import type { Move, PolicyConfig, PolicyNotice, Sample } from './types.js';

/** Result of planning for one sample. */
export interface Plan {
  /** The model after this sample, with the plan's figures for each guest. It does not contain the moves until `ordered` records them. */
  readonly model: Model;
  readonly moves: readonly Move[];
  readonly notices: readonly PolicyNotice[];
  readonly account: Account;
  readonly state: HostState;
}

/** What the guests should get: what they need, or what they had before memcoord came. */
export type Purpose = 'coordinate' | 'restore';

/**
 * Plans the moves for one sample of the host.
 *
 * Pass the model of the last plan (`EMPTY_MODEL` at first), carry out the moves in order, and record them with `ordered`.
 */
export function plan(before: Model, sample: Sample, config: PolicyConfig, purpose: Purpose = 'coordinate'): Plan {
  const { drafts, notices } = estimate(before, sample, config);
  const { guests, numbers } = drafts;
  const restores = purpose === 'restore';
  const claims = guests.filter(restores ? isRestorable : isMovable);
  const reaction = reactions(claims, config);
  for (const draft of claims) {
    const periodMs = (sample.contexts.get(draft.uuid)?.statsPeriod ?? 0) * 1000;
    demand(draft, reaction(draft, periodMs), periodMs, config);
    if (restores) aim(draft);
  }
  const available = availableOf(guests, sample.host);
  const memory = { available, drain: drained(before, available, sample, config) };
  const books = account(guests, sample, config, memory);
  const state = share(claims, sample.at, books, config);
  const { moves, waiting, rate } = decide({ guests, claims, restores }, sample, config, books);
  const model = { ...noted(before, state, books, sample, guests, notices), ...memory, rate, guests, numbers, waiting };
  return { model, moves, notices, account: books, state };
}

/**
 * Rate at which the host's available memory falls, KiB/s: a mean of the last moments. A fall faster than all guests at `burst` is not a
 * rise that goes on, but memory that is pinned, or zeroed at a start: the rate is capped there.
 */
function drained(before: Model, available: number, { at, sweep }: Sample, { burstKiBs }: PolicyConfig): number {
  const elapsed = at - before.at;
  if (Number.isNaN(before.available) || !(elapsed > 0)) return before.drain;
  const seen = Math.min(Math.max(0, ((before.available - available) / elapsed) * 1000), sweep.guests.length * burstKiBs);
  if (!Number.isFinite(before.drain)) return seen;
  return seen + (before.drain - seen) * 2 ** (-elapsed / DRAIN_HALVES);
}

/** Step 4 over the guests that can be moved. */
function share(claims: readonly Draft[], at: number, books: Account, { surplus }: PolicyConfig): HostState {
  const { state, sizes } = allocate(
    claims.map((draft) => claimOf(draft, mayGive(draft, at, books))),
    books,
    surplus,
  );
  claims.forEach((draft, i) => {
    draft.allocation = wholeMiB(sizes[i] ?? draft.need, draft);
  });
  return state;
}

function claimOf(draft: Draft, gives: boolean): Claim {
  const { used, floor, ceiling, share, critical, need, want, original } = draft;
  const holds = charge(draft);
  // Other guests must be asked for what this guest cannot give now.
  const kept = gives ? 0 : Math.min(holds, ceiling);
  return { used, floor, ceiling, share, critical, need, want, had: original || 0, holds, kept };
}

/** Rounds down to whole MiB so that the sum holds, but stays within the guest's bounds. */
function wholeMiB(size: number, { floor, ceiling }: Belief): number {
  return Math.min(Math.floor(ceiling), Math.max(Math.ceil(floor), Math.floor(size / MiB) * MiB));
}

/** The host's part of the next model. Adds a notice for each change. */
function noted(
  before: Model,
  state: HostState,
  books: Account,
  { at, host }: Sample,
  guests: readonly Belief[],
  notices: PolicyNotice[],
): Omit<Model, 'guests' | 'numbers' | 'waiting' | 'available' | 'drain' | 'rate'> {
  const stateSince = state === before.state ? before.stateSince : at;
  const report = state !== before.reported && at - stateSince >= STATE_HOLDS;
  if (report) notices.push(stateNotice(state, books, guests));
  const { pressure, available } = host;
  if (pressure !== before.pressure)
    notices.push({ kind: pressure ? 'host-pressure' : 'host-pressure-ended', level: pressure ? 'warn' : 'info', figures: { available } });
  const { reserve } = books;
  const reserveInDanger = books.available < reserve * (before.reserveInDanger ? 1 + RESERVE_MARGIN : 1);
  if (reserveInDanger !== before.reserveInDanger) {
    const kind = reserveInDanger ? 'reserve-in-danger' : 'reserve-safe';
    notices.push({ kind, level: reserveInDanger ? 'warn' : 'info', figures: { available: books.available, reserve } });
  }
  const refusal = guests.some(({ refusesRefresh }) => refusesRefresh);
  if (refusal && !before.reportedRefusal) notices.push({ kind: 'no-refresh', level: 'info' });
  const reported = report ? state : before.reported;
  return { at, reported, state, stateSince, pressure, reserveInDanger, reportedRefusal: before.reportedRefusal || refusal };
}

function stateNotice(state: HostState, { charged, room }: Account, guests: readonly Belief[]): PolicyNotice {
  const needs = guests.reduce((sum, { need }) => sum + (need || 0), 0);
  const figures = { needs: Math.round(needs), capacity: Math.round(charged + room), charged: Math.round(charged) };
  const kind = state === 'ample' ? 'contention-ended' : state;
  return { kind, level: state === 'overcommitted' ? 'warn' : 'info', figures };
}
