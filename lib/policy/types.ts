/**
 * What the policy takes and gives. Sizes are KiB, times are ms of a monotonic clock that the caller passes in.
 */
import type { Amount } from '../common/units.js';
import type { DomainFacts, HostMemory } from '../hypervisor.js';
import type { Sweep } from '../sweep.js';

/** What of a guest's memory is spare: free memory and page cache that it does not work in (MemAvailable), or free memory alone (MemFree). */
export type Signal = 'usable' | 'unused';

/** Per-guest settings as somebody wrote them (configuration file, domain metadata); what is not set takes its default. */
export interface GuestOverrides {
  /** Floor, KiB. */
  readonly min?: Amount;
  /** Ceiling, KiB; the domain's own maximum holds in any case. */
  readonly max?: Amount;
  /** Weight in contention; 1000 by default. */
  readonly share?: number;
  readonly signal?: Signal;
  /** false = read it, charge it, never move it. */
  readonly manage?: boolean;
  /** {@link PolicyConfig.bootRestMs} of this guest. */
  readonly bootRestMs?: number;
}

/** The settings that the policy itself knows. Sizes KiB, times ms, rates KiB/s. */
export interface PolicyConfig {
  /** Time between sweeps, ms. */
  readonly intervalMs: number;
  /** Upper bound of the sum of max(target, actual) of all guests, KiB; null = only the host's capacity. */
  readonly pool: Amount | null;
  /** Memory that is never given out, KiB; null = max(5 % of the host, 512 MiB). Never under 200 MiB. */
  readonly reserve: Amount | null;
  readonly signal: Signal;
  /** What nobody needs stays with the host, or is spread so that the guests' spare is equal. */
  readonly surplus: 'host' | 'guests';
  /** Burst that a guest's spare should cover until we can react, KiB/s. */
  readonly burstKiBs: number;
  /** How long a guest that was started is not shrunk unless somebody waits for memory, ms (docs/ballooning.md, rule 17). */
  readonly bootRestMs: number;
  /** Budget for extra samples, as a fraction of one core. */
  readonly samplingBudget: number;
}

/** Where a guest stands. Only a `steady` guest is shrunk. */
export type Phase =
  /** Its balloon driver has not answered yet, or it was just rebooted: it may hold its maximum. */
  | 'booting'
  | 'steady'
  /** It reported once and does no longer: distress, or the driver is gone. */
  | 'silent'
  | 'paused'
  /** Does not follow its target; shrinking it is suspended for a while. */
  | 'stuck'
  /** Read and charged but never moved: by settings, or because it can't be ballooned. */
  | 'excluded';

/** Why a guest is not moved, or its figures are not known. */
export type Why =
  | 'left-out'
  | 'not-managed'
  | 'no-balloon'
  /** Its balloon frees nothing for the host: `DomainFacts.obstacles` say why. */
  | 'obstacles'
  | 'not-described'
  | 'not-running'
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
  /** Grows again: it reads from disk what it had in its page cache. */
  | 'working'
  /** Grows because surplus memory is spread (surplus: guests). */
  | 'surplus'
  /** Shrinks: has more than it needs and nobody waits. */
  | 'give'
  /** Shrinks: has more than its part, and another guest waits for memory. */
  | 'make-room'
  /** Shrinks: the host has less available than its reserve, or soon will, or the guests hold more than the pool. */
  | 'over-capacity'
  /** Target back up: the guest does not give what it was asked for. */
  | 'no-progress'
  /** Target back up: swap-in or major faults rose after a shrink. */
  | 'thrashing'
  /** Target back to the balloon's size: the guest went silent with a shrink under way. */
  | 'silent'
  /** Target lifted to the floor or lowered to the ceiling in force. */
  | 'bounds'
  /** Grows at its boot as far as the host has room: software sizes itself by the memory that it sees (rule 17). */
  | 'boot'
  /** Brought back to what it had before memcoord came. */
  | 'restore';

/** A new target for a guest, with the figures that led to it. */
export interface Move {
  readonly uuid: string;
  readonly name: string;
  /** The target so far, KiB. */
  readonly from: number;
  /** The new target, KiB. */
  readonly to: number;
  readonly reason: Reason;
  /** Balloon size at the last reading, KiB. */
  readonly actual: number;
  /** What the guest uses, its kernel's share included: balloon size at its sample less its spare, KiB; NaN where unknown. */
  readonly used: number;
  /** Spare at the present balloon size, KiB; NaN where unknown. */
  readonly spare: number;
  /** What it needs, KiB: its use, the least spare, and what its trend takes until memcoord reacts. */
  readonly need: number;
  /** What it is given, KiB. */
  readonly allocation: number;
  /** For a shrink that somebody's need causes: the name of that guest; `null` = nobody, or the host itself. */
  readonly taker: string | null;
}

/** Something that has changed and that an operator wants to know, once. Sentences are made of it in coordinator/messages.ts. */
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
  /** Name of the guest that it is about. */
  readonly guest?: string;
  readonly uuid?: string;
  /** What it is about: sizes in KiB, phases, {@link Why}. */
  readonly figures?: Readonly<Record<string, number | string>>;
}

/**
 * What an earlier coordinator knew of the same start of a guest. Sizes KiB; times ms of the machine's monotonic clock, which goes on from
 * process to process.
 */
export interface Remembered {
  /** Balloon size before memcoord came, or what somebody else has set since. */
  readonly original: number;
  /** What was last asked for, or adopted. */
  readonly target: number;
  /** When it was last asked for; 0 = never. */
  readonly orderedAt: number;
  /** Learned speed of the balloon as it inflates, KiB/s. */
  readonly speed: number;
  /** Size below which it could not be pushed, while it is left alone for that; 0 = none. */
  readonly reachable: number;
  /** No shrinking before this time, and the next pause after a failure, ms. */
  readonly shrinkAfter: number;
  readonly pause: number;
  /** That failure made it swap or fault. */
  readonly thrashed: boolean;
  readonly cache: RememberedCache;
}

/** What was learned of a guest's page cache. Sizes KiB. */
export interface RememberedCache {
  /** What it was found to work in, and the size that it takes for that, until `probeAfter`. */
  readonly working: number;
  readonly floor: number;
  readonly probeAfter: number;
  /** Next pause of probing, ms. */
  readonly pause: number;
  /** What probing has cost it since memcoord came: read from disk above the usual, and for how long, ms. */
  readonly rereads: number;
  readonly rereadMs: number;
}

/** What the policy needs to know of a guest beside its figures. */
export interface GuestContext {
  readonly facts: DomainFacts | null;
  readonly overrides: GuestOverrides;
  /** false = left out by --include, --exclude. */
  readonly included: boolean;
  /** Seconds of the stats period in force, 0 = off. */
  readonly statsPeriod: number;
  /** Taken over when the guest is first seen, and never again. */
  readonly remembered?: Remembered;
}

/** One sample of the host: everything that a plan depends on beside the model and the configuration. */
export interface Sample {
  /** Now, ms. */
  readonly at: number;
  readonly sweep: Sweep;
  /** Guests whose figures were asked for by a forced refresh in this sample, by uuid. */
  readonly refreshed: ReadonlySet<string>;
  /** Guests that reported a reboot since the last sample, by uuid. */
  readonly rebooted: ReadonlySet<string>;
  /**
   * Guests that were started since the last sample, by uuid, as their events say: none that were running when memcoord came. Each is in the
   * sweep, though it may have been in the one before too, as events can be late.
   */
  readonly started: ReadonlySet<string>;
  /** Believe a guest's figures at first sight: for a reading that moves nothing. A coordinator waits for two that agree. */
  readonly atFirstSight?: boolean;
  readonly host: HostMemory;
  /** By uuid; a guest that is not in it is taken with defaults. */
  readonly contexts: ReadonlyMap<string, GuestContext>;
}
