/** Host and guests at one sample, as people see them. */

import { machineTime, type Time } from '../common/time.js';
import { amountOf } from '../common/units.js';
import type { Config } from '../config/config.js';
import type { Hypervisor } from '../hypervisor.js';
import type { Account } from '../policy/account.js';
import { survivableBurst } from '../policy/demand.js';
import { type Belief, EMPTY_MODEL, type HostState, isControlled, type Model, spareNow, untouched } from '../policy/guest.js';
import { GROW_BAND } from '../policy/limits.js';
import { type Plan, plan } from '../policy/plan.js';
import type { GuestContext, Phase, Reason, Sample } from '../policy/types.js';
import { CPU_TIME, figureOf, LAST_UPDATE, STRIDE, type Sweep } from '../sweep.js';
import { whyText } from './messages.js';
import { CONTROL_DEADLINE_MS, contextOf, recalled } from './registry.js';
import type { SavedGuests } from './state.js';

/** A guest as people see it. Sizes KiB; NaN = not known. */
export interface GuestView {
  readonly uuid: string;
  readonly name: string;
  readonly phase: Phase;
  readonly actual: number;
  readonly target: number;
  readonly unused: number;
  readonly usable: number;
  readonly used: number;
  readonly spare: number;
  /** Working cache: page cache that the guest was found to use. Counts as used. */
  readonly working: number;
  /** Cost of probing its cache: reads from disk above the usual, and for how long, ms. */
  readonly rereads: number;
  readonly rereadMs: number;
  /** Use, working cache, least spare, and the growth by its trend until memcoord reacts. */
  readonly need: number;
  /** What it should have if there were room for all: its need, or more as a cushion for a burst. */
  readonly want: number;
  readonly allocation: number;
  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  /** KiB/s. */
  readonly trend: number;
  readonly maximum: number;
  /** True if memcoord controls its balloon; if not, it is outside the account. */
  readonly controlled: boolean;
  /** Resident memory of its process on the host. */
  readonly rss: number;
  /** What it can still take of the host's memory. */
  readonly untouched: number;
  /** Time from when it needs memory until it has it, ms. */
  readonly reaction: number;
  /** Rise of its use that it would survive for 3 s right now, KiB/s. */
  readonly survivableBurst: number;
  /** Age of its figures, ms. */
  readonly statsAge: number;
  readonly lastReason: Reason | null;
  /** Why it is not coordinated; null if it is. */
  readonly why: string | null;
}

/** Host and guests at one sample. Sizes KiB. */
export interface Snapshot {
  /** Wall clock, ms since 1970. */
  readonly at: number;
  readonly host: {
    readonly total: number;
    /** MemAvailable; ZFS' ARC above its minimum, and the minimum; what cgroups leave to the guests, null = no limit. */
    readonly memAvailable: number;
    readonly arc: number;
    readonly arcMinimum: number;
    readonly cgroupRoom: number | null;
    /** What is really available to guests, reserve included. */
    readonly available: number;
    readonly reserve: number;
    /** What guests can take before we react, and grants that they have not taken yet: growth for need may not use these. */
    readonly liability: number;
    readonly granted: number;
    /** What all guests together can still take: optional growth may not use this. */
    readonly untouched: number;
    /** What growth for need, and what optional growth, may use. */
    readonly room: number;
    readonly optionalRoom: number;
    /** Sum of max(target, actual) of controlled guests and of their processes' overheads; resident memory of all others. */
    readonly charged: number;
    readonly overhead: number;
    readonly uncontrolled: number;
    readonly pool: number | null;
    readonly state: HostState;
    readonly pressure: boolean;
  };
  readonly guests: readonly GuestView[];
}

/**
 * One reading of host and guests. Changes nothing, and works on a read-only connection.
 *
 * @param left what a coordinator has noted of the guests ({@link State}): its targets, and what it has learned
 */
export async function readOnce(
  hypervisor: Hypervisor,
  config: Config,
  time: Time = machineTime,
  left: SavedGuests = new Map(),
): Promise<Snapshot> {
  const [sweep, host] = await Promise.all([hypervisor.sample({ deadlineMs: CONTROL_DEADLINE_MS }), hypervisor.hostMemory()]);
  hypervisor.cpuTimes(sweep.guests).forEach((time, row) => {
    sweep.figures[row * STRIDE + CPU_TIME] = time;
  });
  const contexts = new Map<string, GuestContext>();
  await Promise.all(
    sweep.guests.map(async ({ uuid, name, id }) => {
      const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
      contexts.set(uuid, recalled(contextOf(name, facts, config).context, left.get(uuid), id));
    }),
  );
  const sample: Sample = {
    at: time.now(),
    sweep,
    refreshed: new Set(),
    rebooted: new Set(),
    started: new Set(),
    atFirstSight: true,
    host,
    contexts,
  };
  const snapshot = snapshotOf({ wallClock: Date.now(), sample, config, ...plan(EMPTY_MODEL, sample, config) });
  // A single reading cannot see figures change: their age comes from the guest's last answer, to the second.
  const ages = new Map(sweep.guests.map(({ uuid }, row) => [uuid, ageOf(sweep, row)]));
  return { ...snapshot, guests: snapshot.guests.map((guest) => ({ ...guest, statsAge: ages.get(guest.uuid) ?? Number.NaN })) };
}

function ageOf(sweep: Sweep, row: number): number {
  const answered = figureOf(sweep, row, LAST_UPDATE);
  return answered > 0 ? Math.max(0, Date.now() - answered * 1000) : Number.NaN;
}

/** A sample and its plan: the input of a snapshot. */
export interface Seen extends Pick<Plan, 'account' | 'state'> {
  /** Ms since 1970. */
  readonly wallClock: number;
  readonly sample: Sample;
  readonly config: Config;
  /** The model after the plan's moves. */
  readonly model: Model;
}

export function snapshotOf({ wallClock, sample, config, model, account, state }: Seen): Snapshot {
  const { total, available: memAvailable, arc, arcMinimum, cgroupRoom, pressure } = sample.host;
  const { available, reserve, liability, granted, untouched, room, optionalRoom, charged, overhead, uncontrolled } = account;
  const pool = config.pool === null ? null : amountOf(config.pool, total);
  const short = model.guests.filter(({ need, target }) => need - target >= GROW_BAND).length;
  return {
    at: wallClock,
    host: {
      total,
      memAvailable,
      arc,
      arcMinimum,
      cgroupRoom,
      available,
      reserve,
      liability,
      granted,
      untouched,
      room,
      optionalRoom,
      charged,
      overhead,
      uncontrolled,
      pool,
      state,
      pressure,
    },
    guests: model.guests.map((belief) => viewOf(belief, sample, config, account, short)),
  };
}

function viewOf(belief: Belief, { at, contexts }: Sample, config: Config, account: Account, short: number): GuestView {
  const { uuid, name, phase, actual, target, unused, usable, used, need, want, allocation, floor, ceiling, share, trend, rss } = belief;
  const { maximum, reaction, lastReason, why, working, rereads, rereadMs } = belief;
  return {
    uuid,
    name,
    phase,
    actual,
    target,
    unused,
    usable,
    used,
    spare: spareNow(belief),
    working,
    rereads,
    rereadMs,
    need,
    want,
    allocation,
    floor,
    ceiling,
    share,
    trend,
    maximum,
    controlled: isControlled(belief),
    rss,
    untouched: untouched(belief),
    reaction,
    survivableBurst: survivableBurst(belief, config, account, short + (need - target >= GROW_BAND ? 0 : 1)),
    statsAge: at - belief.figuresAt,
    lastReason,
    why: why === null ? null : whyText(why, contexts.get(uuid)?.facts ?? null),
  };
}
