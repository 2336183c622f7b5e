/** Host and guests at one sample, as people see them. */

import { machineTime, type Time } from '../common/time.js';
import { amountOf } from '../common/units.js';
import type { Config } from '../config/config.js';
import type { Hypervisor } from '../hypervisor.js';
import { type Belief, EMPTY_MODEL, type HostState, type Model, spareNow } from '../policy/belief.js';
import { type Plan, plan } from '../policy/plan.js';
import type { GuestContext, Phase, Reason, Sample } from '../policy/types.js';
import { CPU_TIME, figureOf, LAST_UPDATE, STRIDE, type Sweep } from '../sweep.js';
import { CONTROL_DEADLINE_MS, contextOf } from './registry.js';

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
  readonly need: number;
  readonly allocation: number;
  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  /** KiB/s. */
  readonly trend: number;
  readonly maximum: number;
  /** Burst that it would survive right now, KiB/s. */
  readonly survivableBurst: number;
  /** Age of its figures, ms. */
  readonly statsAge: number;
  readonly lastReason: Reason | null;
  /** Why it is not coordinated, if so. */
  readonly why: string | null;
}

/** Host and guests at one sample. Sizes KiB. */
export interface Snapshot {
  /** Wall clock, ms since 1970. */
  readonly at: number;
  readonly host: {
    readonly total: number;
    readonly available: number;
    readonly capacity: number;
    readonly charged: number;
    /** capacity − charged. */
    readonly free: number;
    readonly pool: number | null;
    readonly reserve: number;
    readonly overhead: number;
    readonly state: HostState;
    readonly pressure: boolean;
  };
  readonly guests: readonly GuestView[];
}

/** One reading of host and guests. Changes nothing, and works on a read-only connection. */
export async function readOnce(hypervisor: Hypervisor, config: Config, time: Time = machineTime): Promise<Snapshot> {
  const [sweep, host] = await Promise.all([hypervisor.sample({ deadlineMs: CONTROL_DEADLINE_MS }), hypervisor.hostMemory()]);
  hypervisor.cpuTimes(sweep.guests).forEach((time, row) => {
    sweep.figures[row * STRIDE + CPU_TIME] = time;
  });
  const contexts = new Map<string, GuestContext>();
  await Promise.all(
    sweep.guests.map(async ({ uuid, name }) => {
      const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
      contexts.set(uuid, contextOf(name, facts, config).context);
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
  // A first sight knows no change of the figures: their age is what the guest's last answer tells, to the second.
  const ages = new Map(sweep.guests.map(({ uuid }, row) => [uuid, ageOf(sweep, row)]));
  return { ...snapshot, guests: snapshot.guests.map((guest) => ({ ...guest, statsAge: ages.get(guest.uuid) ?? Number.NaN })) };
}

function ageOf(sweep: Sweep, row: number): number {
  const answered = figureOf(sweep, row, LAST_UPDATE);
  return answered > 0 ? Math.max(0, Date.now() - answered * 1000) : Number.NaN;
}

/** A sample and what a plan made of it: what a snapshot is made from. */
export interface Seen extends Pick<Plan, 'account' | 'state'> {
  /** Ms since 1970. */
  readonly wallClock: number;
  readonly sample: Sample;
  readonly config: Config;
  /** The model after the plan's moves. */
  readonly model: Model;
}

export function snapshotOf({ wallClock, sample, config, model, account, state }: Seen): Snapshot {
  const { total, available, pressure } = sample.host;
  const { capacity, charged, reserve, overhead } = account;
  return {
    at: wallClock,
    host: {
      total,
      available,
      capacity,
      charged,
      free: capacity - charged,
      pool: config.pool === null ? null : amountOf(config.pool, total),
      reserve,
      overhead,
      state,
      pressure,
    },
    guests: model.guests.map((belief) => viewOf(belief, sample.at)),
  };
}

function viewOf(belief: Belief, at: number): GuestView {
  const { uuid, name, phase, actual, target, unused, usable, used, need, allocation, floor, ceiling, share, trend } = belief;
  const { maximum, survivableBurst, lastReason, why } = belief;
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
    need,
    allocation,
    floor,
    ceiling,
    share,
    trend,
    maximum,
    survivableBurst,
    statsAge: at - belief.figuresAt,
    lastReason,
    why,
  };
}
