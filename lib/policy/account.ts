/**
 * Step 3, account: what memory there is and what each kind of use may spend of it (docs/ballooning.md, rules 3, 4 and 8).
 *
 * A guest that we control is charged what its balloon may hold; what any other guest holds is already missing from the host's available
 * memory. Both can still take something (`untouched`, guest.ts). Four uses of memory, four tests of it:
 *
 *     available = min(MemAvailable + ARC above its minimum, room within the cgroup) − file pages of the guests
 *     need      may spend  available − reserve − what guests can take before we react − grants that have not shown yet
 *     relief (what keeps a guest alive)  available − reserve − what keeps those alive that rise as well, as far as the host is seen to lose it
 *     optional growth      available − reserve − all that all guests can still take; what a guest had before us, as need
 *     a shrink below need  only while somebody waits in need and need cannot be paid, or `available` is under the reserve, or about to be
 *
 * and none of them more than the pool has left.
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
  /** What the host will lack in BRISK_AHEAD, if it goes on losing memory as it does; negative where it will not. */
  readonly lack: number;
  /** What of it there will be once donors that are asked at the next sample have given, if it goes on falling as it does. */
  readonly soon: number;
  readonly reserve: number;
  /** Sum of max(target, actual) of the guests that we control, and of their processes' overheads. */
  readonly charged: number;
  readonly overhead: number;
  /** Resident memory of the guests that we do not control. */
  readonly uncontrolled: number;
  /** All that all guests can still take, were each to take all that it may. */
  readonly untouched: number;
  /** What of it they can take before we react: those that rise now, and the few largest of the others, each no more than burst × reaction. */
  readonly liability: number;
  /** Grants that have not shown yet in the memory of the guests' processes. */
  readonly granted: number;
  /** What the pool has left; Infinity where there is none. */
  readonly poolRoom: number;
  /** What need may spend; negative where the host is short. */
  readonly room: number;
  /** What may keep guests alive: of all that others can take, only what keeps those alive that rise is left to them. */
  readonly reliefRoom: number;
  /** What optional growth may spend. */
  readonly optionalRoom: number;
  /** What a guest that is started next can take before we react: surplus leaves it. */
  readonly newcomer: number;
  /** What must come back: `available` will be under the reserve, or the guests hold more than the pool. */
  readonly shortage: number;
}

/** Memory that is never given out, KiB: 5 % of the host without its huge page pools, or what is set. */
export function reserveOf({ total, hugePages }: Pick<Sample['host'], 'total' | 'hugePages'>, config: PolicyConfig): number {
  const usual = Math.max((total - hugePages) * RESERVE_FRACTION, DEFAULT_RESERVE);
  return Math.max(LEAST_RESERVE, config.reserve === null ? usual : amountOf(config.reserve, total));
}

/** What a guest could take of the host's memory at its maximum, KiB. */
function mayYetTake(guest: Belief): number {
  return Math.max(untouched(guest), guest.maximum + LEAST_OVERHEAD - (guest.rss > 0 ? guest.rss : charge(guest)));
}

/** What the host really has for guests, its reserve included, KiB: see the top. */
export function availableOf(guests: readonly Belief[], { available, arc, cgroupRoom }: Sample['host']): number {
  return Math.min(available + arc, cgroupRoom ?? Number.POSITIVE_INFINITY) - guests.reduce((sum, { rssFile }) => sum + rssFile, 0);
}

/**
 * Step 3 over all guests of a sample.
 *
 * @param seen what the host has available, KiB ({@link availableOf}), and how fast that falls, KiB/s; Infinity where that is not known yet
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
    // Where somebody else raises a guest nobody tells how far.
    const raised = guest.rising ? Math.min(mayYetTake(guest) - left, (DEFLATES_FASTER * guest.speed * config.intervalMs) / 1000) : 0;
    const pending = Math.min(guest.granted + guest.grantedBefore, left) + raised;
    all += left + raised;
    granted += pending;
    // What it is taken to take before we react takes what was granted first.
    const beyond = (take: number) => Math.min(Math.max(0, left - pending), Math.max(0, take - pending));
    const goesOn = Math.max(LEAST_SPARE, (Math.min(guest.trend, config.burstKiBs) * UNSEEN) / 1000);
    if (isMovable(guest) && isRising(guest, at, config)) {
      rising += beyond(goesOn);
      // What relief may have given it already counts in full.
      alive += Math.min(left, Math.max(0, guest.critical - guest.used));
    } else {
      // One whose figures show its rise is seen by them, once its spare no longer lasts until the next sweep, and at each sample while it
      // may go on with a rise that has just ended; another by the host's memory.
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
  // Those that rise go on: they take their least spare, or more. Of the others a few may begin to.
  const liability = rising + rises.slice(0, RISE_AT_ONCE).reduce((sum, rise) => sum + rise, 0);
  const pool = config.pool === null ? Number.POSITIVE_INFINITY : amountOf(config.pool, host.total);
  const poolRoom = pool - charged - uncontrolled;
  const seen = Number.isFinite(drain) ? drain : 0;
  const soon = available - (seen * (sampleInterval(1, config) + GIVEN_WITHIN)) / 1000;
  // The ARC shrinks slowly: no more at once than is free without it.
  const atOnceHas = host.available - files - LEAST_RESERVE;
  const left = Math.min(available - reserve - liability - granted, Math.max(0, atOnceHas));
  const shared = (room: number) => Math.min(room > 0 && rival ? room * RIVAL_SHARE : room, poolRoom);
  const room = shared(left);
  // Who starves is refused only what keeps those alive that rise as well, and no more than the host is seen to lose.
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
