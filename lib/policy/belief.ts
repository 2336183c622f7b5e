/** What is believed of each guest, carried from look to look: the types, and what can be said of a belief by itself. */
import { BALLOON_SPEED, DEFAULT_SHARE, FIRST_PAUSE, FIRST_REFUSED_PAUSE, LEAST_OVERHEAD } from './limits.js';
import type { GuestContext, Phase, Reason, Signal } from './types.js';

/** Why the next plan must take a guest's target back. */
export interface Rollback {
  readonly reason: 'no-progress' | 'thrashing' | 'silent';
  /** Target to go back to, KiB: above the present one where a shrink is taken back, under it where a growth is. */
  readonly to: number;
}

/** What is believed of one guest. KiB, ms, KiB/s; NaN = not known. */
export interface Belief {
  readonly uuid: string;
  readonly name: string;
  /** libvirt's id: another one means another start of the domain. */
  readonly id: number;
  readonly phase: Phase;
  /** Why it is excluded or not moved, for people; null where it is coordinated. */
  readonly why: string | null;

  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  readonly signal: Signal;

  /** True where its balloon frees nothing for the host: it is charged its maximum. */
  readonly pinned: boolean;
  /** The domain's own maximum. */
  readonly maximum: number;
  readonly actual: number;
  /** When `actual` was read. */
  readonly actualAt: number;
  /** Since when `actual` has been what it is, to within SAME. */
  readonly restingSince: number;
  /** What was last asked for, or adopted. */
  readonly target: number;
  /** When we last asked; -Infinity = never. */
  readonly orderedAt: number;
  /** The target before that. */
  readonly orderedFrom: number;
  /** Refused moves: none before this time, and the next pause. */
  readonly refusedUntil: number;
  readonly refusedPause: number;
  /** Resident memory of the domain's process on the host; NaN where not reported. */
  readonly rss: number;
  /** What the process takes beside the guest's memory. */
  readonly overhead: number;

  /** The guest's last figures as they came. */
  readonly unused: number;
  readonly usable: number;
  readonly available: number;
  readonly lastUpdate: number;
  readonly swapIn: number;
  readonly majorFault: number;
  readonly minorFault: number;
  /** When the figures were last seen to change: proof that the guest answers. NaN = never. */
  readonly figuresAt: number;
  /** How often they changed since the guest is in this phase. */
  readonly samples: number;
  /** `size - available`: what the guest's kernel keeps from MemTotal, constant for a boot; known once two samples agreed on it. */
  readonly kernel: number;
  /** K as the last sample of a resting balloon had it. */
  readonly kernelSeen: number;
  /** Balloon size at the time of the figures. */
  readonly size: number;
  /** True where `size` is known and not only assumed. */
  readonly paired: boolean;
  /** `size - spare`: what the guest uses, its kernel's share included (K cancels out). */
  readonly used: number;
  /** Growth of `used`, fast up, slow down; never negative. */
  readonly trend: number;

  /** Learned speed of the balloon. */
  readonly speed: number;
  /** Size below which the guest could not be pushed; 0 = none known. */
  readonly reachable: number;
  /** No shrinking before this time, and the next pause after a failure. */
  readonly shrinkAfter: number;
  readonly pause: number;
  /** Progress of a shrink under way: size at the start of the window, and the start. */
  readonly windowActual: number;
  readonly windowAt: number;
  /** Last shrink: when, and the target before it. */
  readonly shrunkAt: number;
  readonly shrunkFrom: number;
  /** When it was last made to grow. */
  readonly grownAt: number;
  /** Usual major faults a second, while not shrunk. */
  readonly usualFaults: number;
  /** What was taken from it so far is paid off at this time, at the pace of shrinking (safety.ts). */
  readonly paidAt: number;

  readonly rebootedAt: number;
  readonly rollback: Rollback | null;
  /** Somebody else's move is being adopted and has not been told yet. */
  readonly adopting: boolean;
  /** When people were last told of one. */
  readonly adoptedToldAt: number;
  readonly lastReason: Reason | null;
}

/** What is believed of the host's guests, in the order of the last sweep. */
export interface Model {
  readonly at: number;
  readonly guests: readonly Belief[];
  /** Host state told last, and since when the present one holds. */
  readonly told: HostState;
  readonly state: HostState;
  readonly stateSince: number;
  readonly pressure: boolean;
  /** True while a guest lacks memory that others have yet to give. */
  readonly waiting: boolean;
}

export type HostState = 'ample' | 'contended' | 'overcommitted';

export const EMPTY_MODEL: Model = {
  at: Number.NEGATIVE_INFINITY,
  guests: [],
  told: 'ample',
  state: 'ample',
  stateSince: Number.NEGATIVE_INFINITY,
  pressure: false,
  waiting: false,
};

/** Memory that the host must count on for a guest, without overhead (rule 3). */
export function charge(belief: Belief): number {
  // A guest can be paused while it boots.
  const booting = belief.phase === 'booting' || (belief.phase === 'paused' && belief.samples < 2);
  const blind = booting || Number.isNaN(belief.figuresAt);
  if (blind || belief.pinned || Number.isNaN(belief.actual)) return belief.maximum;
  return Math.max(belief.target, belief.actual);
}

/** Spare of the guest at its present balloon size, in its signal. */
export function spareNow(belief: Belief): number {
  return belief.actual - belief.used;
}

/** What is believed of a guest that was never seen before: nothing, and that it may hold its maximum. */
export function fresh(uuid: string, name: string, id: number, context: GuestContext | undefined, at: number): Belief {
  const maximum = context?.facts?.maximum ?? Number.NaN;
  return {
    uuid,
    name,
    id,
    phase: 'booting',
    why: null,
    floor: Number.NaN,
    ceiling: Number.NaN,
    share: DEFAULT_SHARE,
    signal: 'usable',
    pinned: false,
    maximum,
    actual: Number.NaN,
    actualAt: Number.NaN,
    restingSince: at,
    target: Number.NaN,
    orderedAt: Number.NEGATIVE_INFINITY,
    orderedFrom: Number.NaN,
    refusedUntil: Number.NEGATIVE_INFINITY,
    refusedPause: FIRST_REFUSED_PAUSE,
    rss: Number.NaN,
    overhead: LEAST_OVERHEAD,
    unused: Number.NaN,
    usable: Number.NaN,
    available: Number.NaN,
    lastUpdate: Number.NaN,
    swapIn: Number.NaN,
    majorFault: Number.NaN,
    minorFault: Number.NaN,
    figuresAt: Number.NaN,
    samples: 0,
    kernel: Number.NaN,
    kernelSeen: Number.NaN,
    size: Number.NaN,
    paired: false,
    used: Number.NaN,
    trend: 0,
    speed: BALLOON_SPEED,
    reachable: 0,
    shrinkAfter: Number.NEGATIVE_INFINITY,
    pause: FIRST_PAUSE,
    windowActual: Number.NaN,
    windowAt: at,
    shrunkAt: Number.NEGATIVE_INFINITY,
    shrunkFrom: Number.NaN,
    grownAt: Number.NEGATIVE_INFINITY,
    usualFaults: 0,
    paidAt: at,
    rebootedAt: Number.NEGATIVE_INFINITY,
    rollback: null,
    adopting: false,
    adoptedToldAt: Number.NEGATIVE_INFINITY,
    lastReason: null,
  };
}

/** Figures of one guest in a look, by the fields of sweep.ts. */
export type Figure = (field: number) => number;
