/**
 * The layout of a sweep: one reading of all guests, as one flat array of numbers.
 *
 * `figures` has STRIDE numbers for each guest, guest after guest in the order of `guests`; a figure that was not reported is NaN,
 * never 0. The addon (native/sampler.h has the same list) and the simulated host fill it; the policy's model reads it.
 * One array crosses from native code to JavaScript for a sweep, whatever the number of guests.
 */

/** What became of the reading of one guest (field {@link STATUS}). */
export const READ = 0;
/** libvirt gave an error: field {@link ERROR} has its virErrorNumber. */
export const FAILED = 1;
/** The call did not return by the sweep's deadline, or was far later than such calls usually are; it may still be in flight. */
export const MISSED = 2;
/** Not asked, because an earlier call on the guest is still in flight or hung guests hold their share of the slots. */
export const SET_ASIDE = 3;
/** Not asked, because the sweep was for other guests. */
export const NOT_ASKED = 4;

/** One of READ, FAILED, MISSED, SET_ASIDE, NOT_ASKED. All other fields but ERROR and REFRESHED are NaN unless READ. */
export const STATUS = 0;
/** virErrorNumber where STATUS is FAILED. */
export const ERROR = 1;
/** virDomainState: 1 running, 2 blocked, 3 paused, 4 shutting down, 5 off, 6 crashed, 7 suspended by power management. */
export const STATE = 2;
/** Most memory the domain may have, KiB (virDomainInfo.maxMem). */
export const MAXIMUM = 3;
/** Balloon size now, KiB (VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON). */
export const ACTUAL = 4;
/** Guest's MemFree, KiB. */
export const UNUSED = 5;
/** Guest's MemTotal, KiB (not MemAvailable). */
export const AVAILABLE = 6;
/** Guest's MemAvailable, KiB. */
export const USABLE = 7;
/** Guest's page cache with tmpfs and shmem, KiB. */
export const DISK_CACHES = 8;
/** KiB swapped in since the guest booted. */
export const SWAP_IN = 9;
/** KiB swapped out since the guest booted. */
export const SWAP_OUT = 10;
/** Major page faults since the guest booted. */
export const MAJOR_FAULT = 11;
/** Minor page faults since the guest booted. */
export const MINOR_FAULT = 12;
/** Resident memory of the domain's process on the host, KiB. */
export const RSS = 13;
/** Host's wall clock when the guest last answered, whole seconds; 0 = never. */
export const LAST_UPDATE = 14;
/** When the reading came back: CLOCK_MONOTONIC, ms (the clock of `process.hrtime`). */
export const READ_AT = 15;
/**
 * Outcome of making the guest report new figures first, whatever STATUS is: NaN = not requested, or not known since the call did not
 * return; 0 = done; else the virErrorNumber with which the hypervisor refused, after which the stats period may be off.
 */
export const REFRESHED = 16;
/**
 * CPU time of the guest's virtual CPUs since it was started, ms, read before everything else of the row and whatever its STATUS; NaN where
 * the host does not report it. The coordinator fills it, not the addon or the simulated host.
 */
export const CPU_TIME = 17;
/**
 * Part of {@link RSS} that is pages of files, KiB, if the guest's memory is backed by a file: the host counts these pages as available too.
 * NaN if it is not, or the part is not known. The addon does not fill it.
 */
export const RSS_FILE = 18;
/**
 * KiB that the guest has read from its disks since it was started, all disks together (virDomainBlockStats with an empty path); NaN if not
 * requested, -1 if the hypervisor does not report it.
 */
export const READS = 19;
/**
 * virDomainJobOperation of a job of libvirt's that lets nobody change the guest ({@link MIGRATION_IN} and {@link MIGRATION_OUT}, or a save,
 * a dump, a snapshot); NaN = there is none. A guest that migrates in is READ, with no figure of its balloon.
 */
export const JOB = 20;
/** Numbers per guest. */
export const STRIDE = 21;

/** Values of {@link JOB}. */
export const MIGRATION_IN = 4;
export const MIGRATION_OUT = 5;

/** The guest that a row of a sweep is about. */
export interface GuestIdentity {
  readonly uuid: string;
  readonly name: string;
  /** libvirt's id of the running domain; a new one for each start. */
  readonly id: number;
}

/** One reading of all running guests. */
export interface Sweep {
  /** The running guests, in the order of the rows. The same array object as the last sweep's while the set has not changed. */
  readonly guests: readonly GuestIdentity[];
  /** STRIDE numbers for each guest. */
  readonly figures: Float64Array;
}

/** A figure of the guest in a row of a sweep; NaN where it was not reported. */
export function figureOf({ figures }: Sweep, row: number, field: number): number {
  return figures[row * STRIDE + field] ?? Number.NaN;
}
