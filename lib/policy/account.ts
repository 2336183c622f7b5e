/**
 * Step 3, account: how much memory there is, and what each use of it may spend (docs/ballooning.md, rules 3, 4 and 8).
 *
 * A guest that memcoord controls is charged what its balloon may hold. What any other guest holds is already missing from the host's
 * available memory. Both can still take more (`untouched`, guest.ts). Each use of memory has its own test, and so has taking it:
 *
 *     available = min(MemAvailable + ARC above its minimum, room within the cgroup) − file pages of the guests
 *     need      may spend  available − reserve − what guests can take before memcoord reacts − grants that have not shown yet
 *     relief    may spend  available − reserve − what keeps rising guests alive, or what the host loses in a second if less
 *     optional  may spend  available − reserve − all that all guests can still take; up to what a guest had before memcoord came, as need
 *     a shrink below need  only while a guest waits in need and need cannot be paid, or `available` is under the reserve or about to be
 *
 * No use may spend more than the pool has left. If the pool is exceeded, guests are shrunk below need as well.
 */
import { amountOf } from '../common/units.js';
import { sampleInterval } from './demand.js';
import { type Belief, charge, isControlled, isMovable, isRising, type Model, overhead, untouched, watermarks } from './guest.js';
import {
  BRISK_AHEAD,
  DEFAULT_RESERVE,
  DEFLATES_FASTER,
  GIVEN_WITHIN,
  LEAST_OVERHEAD,
  LEAST_RESERVE,
  LEAST_SPARE,
  RELIEVED,
  RESERVE_FRACTION,
  RISE_AT_ONCE,
  RISING,
  RIVAL_SEEN,
  RIVAL_SHARE,
  UNSEEN,
  UNTOUCHED_LEAST,
} from './limits.js';
import type { PolicyConfig, Sample } from './types.js';

/** The host's account, KiB. */
export interface Account {
  /** What the host really has for guests, its reserve included. */
  readonly available: number;
  /** How far `available` will be under the reserve in BRISK_AHEAD ms if the host keeps losing memory as it does; negative = not at all. */
  readonly lack: number;
  /** What will be available once donors that are asked at the next sample have given, if the host keeps losing memory as it does. */
  readonly soon: number;
  readonly reserve: number;
  /** Sum of max(target, actual) of the guests that memcoord controls, and sum of their processes' overheads. */
  readonly charged: number;
  readonly overhead: number;
  /** Resident memory of the guests that memcoord does not control. */
  readonly uncontrolled: number;
  /** What all guests can still take, if each takes all that it may. */
  readonly untouched: number;
  /**
   * What guests can take of `untouched` before memcoord reacts: the rising guests, and the few largest of the others, each of these at most
   * burst × UNSEEN.
   */
  readonly liability: number;
  /** Grants that have not shown yet in the memory of the guests' processes. */
  readonly granted: number;
  /** What the pool has left; Infinity if there is no pool. */
  readonly poolRoom: number;
  /** What need may spend; negative if the host is short. */
  readonly room: number;
  /** What may be spent to keep guests alive. Of all that other guests can take, only what keeps rising guests alive is set aside. */
  readonly reliefRoom: number;
  /** What optional growth may spend. */
  readonly optionalRoom: number;
  /** What the next guest that is started can take before memcoord reacts. Surplus growth leaves this much. */
  readonly newcomer: number;
  /** What must come back: `available` will be under the reserve, or the guests hold more than the pool. */
  readonly shortage: number;
}

/** Memory that is never given out, KiB: what is set, or a part of the host without its huge page pools, within the bounds in limits.ts. */
export function reserveOf({ total, hugePages }: Pick<Sample['host'], 'total' | 'hugePages'>, config: PolicyConfig): number {
  const usual = Math.max((total - hugePages) * RESERVE_FRACTION, DEFAULT_RESERVE);
  return Math.max(LEAST_RESERVE, config.reserve === null ? usual : amountOf(config.reserve, total));
}

/** What a guest could still take of the host's memory if it grew to its maximum, KiB. */
function mayYetTake(guest: Belief): number {
  return Math.max(untouched(guest), guest.maximum + LEAST_OVERHEAD - (guest.rss > 0 ? guest.rss : charge(guest)));
}

/** Memory that the host really has for guests, its reserve included, KiB. The formula is at the top of this file. */
export function availableOf(guests: readonly Belief[], { available, arc, cgroupRoom }: Sample['host']): number {
  return Math.min(available + arc, cgroupRoom ?? Number.POSITIVE_INFINITY) - guests.reduce((sum, { rssFile }) => sum + rssFile, 0);
}

/**
 * Step 3 over all guests of a sample.
 *
 * @param seen what the host has available, KiB ({@link availableOf}), and how fast that falls, KiB/s; Infinity = not known yet
 */
export function account(
  guests: readonly Belief[],
  { at, host }: Pick<Sample, 'at' | 'host'>,
  config: PolicyConfig,
  { available, drain }: Pick<Model, 'available' | 'drain'>,
): Account {
  const reserve = reserveOf(host, config);
  const unseen = (config.burstKiBs * Math.min(UNSEEN, config.intervalMs + 1000)) / 1000;
  const rises: number[] = [];
  let rising = 0;
  let alive = 0;
  let files = 0;
  let charged = 0;
  let overheads = 0;
  let uncontrolled = 0;
  let all = 0;
  let granted = 0;
  let rival = false;
  for (const guest of guests) {
    files += guest.rssFile;
    if (isControlled(guest)) {
      charged += charge(guest);
      overheads += overhead(guest);
    } else uncontrolled += guest.rss > 0 ? guest.rss : 0;
    const left = Math.min(untouched(guest), host.total);
    // If somebody else is growing the guest, memcoord does not know how far.
    const raised = guest.rising ? Math.min(mayYetTake(guest) - left, (DEFLATES_FASTER * guest.speed * config.intervalMs) / 1000) : 0;
    const pending = Math.min(guest.granted + guest.grantedBefore, left) + raised;
    all += left + raised;
    granted += pending;
    // Pending grants are the first part of what a guest is assumed to take before memcoord reacts.
    const beyond = (take: number) => Math.min(Math.max(0, left - pending), Math.max(0, take - pending));
    const goesOn = Math.max(LEAST_SPARE, (Math.min(guest.trend, config.burstKiBs) * UNSEEN) / 1000);
    if (isMovable(guest) && isRising(guest, at, config)) {
      rising += beyond(goesOn);
      // Counts in full, although relief may have granted it already.
      alive += Math.min(left, Math.max(0, guest.critical - guest.used));
    } else {
      // If its figures would show a rise, the guest is sampled once its spare no longer lasts until the next sweep, and at each sample
      // while a rise that has just ended may go on. Otherwise only the host's available memory shows the rise.
      const tells = isMovable(guest) && guest.rss + UNTOUCHED_LEAST >= guest.used;
      const told =
        guest.trend >= RISING
          ? goesOn
          : Math.max((config.burstKiBs * guest.reaction) / 1000, charge(guest) - guest.used - watermarks(guest));
      rises.push(beyond(Math.min(unseen, tells ? told : unseen)));
    }
    alive += raised;
    rival ||= at - guest.adoptedAt < RIVAL_SEEN;
  }
  rises.sort((a, b) => b - a);
  // Rising guests are assumed to go on and take their least spare, or more. Of the others, a few may begin to rise.
  const liability = rising + rises.slice(0, RISE_AT_ONCE).reduce((sum, rise) => sum + rise, 0);
  const pool = config.pool === null ? Number.POSITIVE_INFINITY : amountOf(config.pool, host.total);
  const poolRoom = pool - charged - uncontrolled;
  const seen = Number.isFinite(drain) ? drain : 0;
  const soon = available - (seen * (sampleInterval(1, config) + GIVEN_WITHIN)) / 1000;
  // The ARC shrinks slowly, so no more is given at once than is available without it.
  const atOnceHas = host.available - files - LEAST_RESERVE;
  const left = Math.min(available - reserve - liability - granted, Math.max(0, atOnceHas));
  const shared = (room: number) => Math.min(room > 0 && rival ? room * RIVAL_SHARE : room, poolRoom);
  const room = shared(left);
  // Relief sets aside only what keeps rising guests alive, and no more than the host is seen to lose meanwhile.
  const relief = shared(Math.min(available - reserve - Math.min(alive, (drain * RELIEVED) / 1000), atOnceHas));
  return {
    available,
    lack: reserve + (seen * BRISK_AHEAD) / 1000 - available,
    soon,
    reserve,
    charged,
    overhead: overheads,
    uncontrolled,
    untouched: all,
    liability,
    granted,
    poolRoom,
    room,
    reliefRoom: Math.max(room, relief),
    optionalRoom: Math.min(available - reserve - all, room),
    newcomer: unseen,
    shortage: Math.max(0, reserve - soon, -poolRoom),
  };
}
