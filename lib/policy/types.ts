/** Inputs and outputs of the policy. Sizes are KiB, times are ms of a monotonic clock that the caller passes in. */
import type { Amount } from '../common/units.js';
import type { DomainFacts, HostMemory } from '../hypervisor.js';
import type { Sweep } from '../sweep.js';

/**
 * Which figure counts as a guest's spare memory: `usable` is free memory and page cache that the guest does not work in (MemAvailable),
 * `unused` is free memory alone (MemFree).
 */
export type Signal = 'usable' | 'unused';

/** Per-guest settings as written in the configuration file or the domain's metadata. A setting that is absent takes its default. */
export interface GuestOverrides {
  /** Floor, KiB. */
  readonly min?: Amount;
  /** Ceiling, KiB. The domain's own maximum always applies as well. */
  readonly max?: Amount;
  /** Weight in contention; 1000 by default. */
  readonly share?: number;
  readonly signal?: Signal;
  /** false = the guest is read and counted, but never moved. */
  readonly manage?: boolean;
  /** Overrides {@link PolicyConfig.bootRestMs} for this guest. */
  readonly bootRestMs?: number;
}

/** The settings that the policy uses. Sizes KiB, times ms, rates KiB/s. */
export interface PolicyConfig {
  /** Time between sweeps, ms. */
  readonly intervalMs: number;
  /**
   * Upper bound of what the guests hold, KiB: max(target, actual) of controlled guests and resident memory of the others; null = only the
   * host's capacity.
   */
  readonly pool: Amount | null;
  /** Memory that is never given out, KiB; null = max(5 % of the host without its huge page pools, 512 MiB). Never under 200 MiB. */
  readonly reserve: Amount | null;
  readonly signal: Signal;
  /** Whether memory that no guest needs stays with the host, or is spread so that the guests' spare is equal. */
  readonly surplus: 'host' | 'guests';
  /** Burst that a guest's spare should cover until memcoord can react, KiB/s. */
  readonly burstKiBs: number;
  /**
   * How long a guest is not shrunk after a start or reboot, unless another guest waits for memory or the host is short, ms
   * (docs/ballooning.md, rule 17).
   */
  readonly bootRestMs: number;
  /** Budget for extra samples, as a fraction of one core. */
  readonly samplingBudget: number;
}

/** State of a guest. Only a `steady` guest is shrunk. */
export type Phase =
  /** The balloon driver has not answered yet, or the guest has just rebooted: the guest may hold its maximum. */
  | 'booting'
  | 'steady'
  /** The guest reported figures before and no longer does: it is in distress, or its driver is gone. */
  | 'silent'
  /** The guest does not run, or libvirt lets nobody change it while it migrates, saves, dumps or snapshots it. */
  | 'paused'
  /** The guest did not give what it was asked for. It is not shrunk for a while. */
  | 'stuck'
  /** The guest is read and counted but never moved, because of settings or because it cannot be ballooned. */
  | 'excluded';

/** Why a guest is not moved, or why its figures are not known. */
export type Why =
  | 'left-out'
  | 'not-managed'
  | 'no-balloon'
  /** The balloon frees no memory for the host: `DomainFacts.obstacles` says why. */
  | 'obstacles'
  | 'not-described'
  | 'not-running'
  | 'migrating'
  /** libvirt saves, dumps or snapshots it, and lets nobody change it meanwhile. */
  | 'has-job'
  | 'figures-off'
  | 'figures-stand'
  | 'no-driver'
  | 'hangs'
  | 'does-not-give';

/** Why a guest is moved. */
export type Reason =
  /** Grows to what it needs. */
  | 'need'
  /** Grows at once: its target leaves it less than its critical spare. */
  | 'relief'
  /** Grows again: the guest reads from disk what it had in its page cache. */
  | 'working'
  /** Grows because surplus memory is spread (surplus: guests). */
  | 'surplus'
  /** Shrinks: the guest has more than it needs, and no guest waits for memory. */
  | 'give'
  /** Shrinks: the guest has more than its allocation, and another guest waits for memory. */
  | 'make-room'
  /** Shrinks: the host has less available than its reserve, or soon will, or the guests hold more than the pool. */
  | 'over-capacity'
  /** Target taken back: the guest did not give, or did not take, what its last move asked for. */
  | 'no-progress'
  /** Target back up: swap-in or major faults rose after a shrink. */
  | 'thrashing'
  /** Target back to the balloon's size: the guest stopped answering in the middle of a shrink. */
  | 'silent'
  /** Target raised to the floor, or lowered to the ceiling, in force. */
  | 'bounds'
  /** Grows while it reboots, as far as the host has room: software sizes itself by the memory that it sees (rule 17). */
  | 'boot'
  /** Returns to the size that it had before memcoord came. */
  | 'restore';

/** A new target for a guest, with the figures that led to it. */
export interface Move {
  readonly uuid: string;
  readonly name: string;
  /** The target before the move, KiB. */
  readonly from: number;
  /** The new target, KiB. */
  readonly to: number;
  readonly reason: Reason;
  /** Balloon size at the last reading, KiB. */
  readonly actual: number;
  /** What the guest uses, its kernel's share included, KiB: balloon size at the time of its figures less its spare. NaN = unknown. */
  readonly used: number;
  /** Spare at the present balloon size, KiB; NaN = unknown. */
  readonly spare: number;
  /** What the guest needs, KiB: its use, the least spare, and what its trend takes until memcoord reacts. */
  readonly need: number;
  /** What the policy allocates to the guest, KiB. */
  readonly allocation: number;
  /** The guest whose need causes this shrink, by name; `null` = no guest's, or the host's own. */
  readonly taker: string | null;
}

/** A change that an operator wants to know about, reported once. coordinator/messages.ts turns it into sentences. */
export interface PolicyNotice {
  readonly kind:
    | 'guest-appeared'
    | 'guest-gone'
    | 'phase'
    | 'adopted'
    | 'stuck'
    | 'recovered'
    | 'thrashing'
    | 'overcommitted'
    | 'contended'
    | 'contention-ended'
    | 'host-pressure'
    | 'host-pressure-ended'
    | 'reserve-in-danger'
    | 'reserve-safe'
    | 'set-aside'
    | 'answers-again'
    | 'no-answer'
    | 'not-coordinated'
    | 'no-refresh';
  readonly level: 'info' | 'warn';
  /** Name of the guest concerned. */
  readonly guest?: string;
  readonly uuid?: string;
  /** Figures for the message: sizes in KiB, phases, {@link Why}. */
  readonly figures?: Readonly<Record<string, number | string>>;
}

/**
 * What an earlier coordinator learned about a guest since the same start of the guest. Sizes KiB; times ms of the machine's monotonic
 * clock, which continues from process to process.
 */
export interface Remembered {
  /** Balloon size before memcoord came, or what somebody else has set since. */
  readonly original: number;
  /** The target that was last ordered, or adopted. */
  readonly target: number;
  /** When a move was last ordered; 0 = never. */
  readonly orderedAt: number;
  /** Learned speed of the balloon while it inflates, KiB/s. */
  readonly speed: number;
  /** Size below which the guest could not be shrunk, while it is left alone because of that; 0 = none. */
  readonly reachable: number;
  /** No shrinking before this time, and the next pause after a failure, ms. */
  readonly shrinkAfter: number;
  readonly pause: number;
  /** True if the failed shrink made the guest swap or fault. */
  readonly thrashed: boolean;
  readonly cache: RememberedCache;
}

/** What was learned about a guest's page cache. Sizes KiB. */
export interface RememberedCache {
  /** Page cache that the guest was found to work in, and the balloon size that it takes for that. Both hold until `probeAfter`. */
  readonly working: number;
  readonly floor: number;
  readonly probeAfter: number;
  /** Next pause in probing, ms. */
  readonly pause: number;
  /** What probing has cost the guest since memcoord came: KiB read from disk above the usual, and for how long, ms. */
  readonly rereads: number;
  readonly rereadMs: number;
}

/** What the policy needs to know about a guest besides its figures. */
export interface GuestContext {
  readonly facts: DomainFacts | null;
  readonly overrides: GuestOverrides;
  /** false = left out by --include or --exclude. */
  readonly included: boolean;
  /** Stats period in force, seconds; 0 = off. */
  readonly statsPeriod: number;
  /** Applied at the first reading of the guest's balloon, and never again. */
  readonly remembered?: Remembered;
}

/** One sample of the host: everything that a plan depends on besides the model and the configuration. */
export interface Sample {
  /** Now, ms. */
  readonly at: number;
  readonly sweep: Sweep;
  /** Guests whose figures were requested by a forced refresh for this sample, by uuid. */
  readonly refreshed: ReadonlySet<string>;
  /** Guests that reported a reboot since the last sample, by uuid. */
  readonly rebooted: ReadonlySet<string>;
  /**
   * Guests that were started since the last sample, by uuid, according to their events. Guests that were running when memcoord came are not
   * included. Each guest is in the sweep. It may have been in the previous sweep too, as events can be late.
   */
  readonly started: ReadonlySet<string>;
  /** Believe a guest's figures at first sight, for a reading that moves nothing. A coordinator waits until they have changed twice. */
  readonly atFirstSight?: boolean;
  readonly host: HostMemory;
  /** By uuid. A guest that is absent gets the defaults. */
  readonly contexts: ReadonlyMap<string, GuestContext>;
}
