/**
 * Page cache is not spare until it is proven to be (docs/ballooning.md, rule 16). A guest's `usable` counts all of its page cache as spare,
 * and a miss of read() is no major fault: nothing in its figures tells cache that it works in from cache that it will never read again. So
 * cache is taken by *probing*: a step at a time, and then what the guest reads from its disks is watched. Reads above the usual that add up
 * to a small part of a step undo it, and the size before is kept for a while; none, and the next step may come sooner.
 *
 * Facts from Senpai and TMO (Weiner et al., ASPLOS '22), who probe with PSI, which the balloon does not report.
 */
import { READS } from '../sweep.js';
import { type Belief, type Draft, type Figure, isIdle, isRising } from './guest.js';
import {
  CACHE_STEP,
  FIRST_PROBE_PAUSE,
  FIRST_PROBE_REST,
  GIVE_MARGIN,
  KEPT_FRACTION,
  LAST_PAUSE,
  LAST_PROBE_REST,
  LEAST_CACHE,
  LEAST_SPARE,
  PROBE_DOUBLES,
  PROBE_FRACTION,
  PROBE_STEP,
  READS_BASELINE,
  READS_HALVE,
  READS_LEAST,
  READS_MOST_APART,
  READS_RISE,
  READS_USUAL,
  SAME,
  THRASH_WINDOW,
  UNSEEN,
  USUAL_FALLS,
  USUAL_HALVES,
  WATCH_IDLE,
  WATCHED_FOR,
  WATERMARKS,
} from './limits.js';
import type { PolicyConfig, RememberedCache } from './types.js';

/** Memory that the guest has free at its present target, KiB: MemFree less what its kernel keeps. */
export function freeOf({ unused, size, actual, target }: Belief): number {
  return Math.max(0, unused - WATERMARKS) - Math.max(0, size - Math.min(actual, target));
}

/** Page cache that the guest's signal counts as spare, KiB: MemAvailable less what is free. */
export function cacheOf({ signal, usable, unused }: Belief): number {
  if (signal === 'unused' || Number.isNaN(usable) || Number.isNaN(unused)) return 0;
  return Math.max(0, usable - Math.max(0, unused - WATERMARKS));
}

/**
 * Whether so much is free that the guest reads into free memory, and not again what it had: its kernel keeps more for itself the larger the
 * guest is, and nothing tells how much.
 */
function isRoomy({ maximum }: Belief, unused: number): boolean {
  return unused >= 2 * Math.max(WATERMARKS, maximum * KEPT_FRACTION) + 2 * LEAST_CACHE;
}

function hasCache(belief: Belief): boolean {
  return cacheOf(belief) >= LEAST_CACHE;
}

/**
 * It reads into what it has free: it was given that for its cache and has not been seen to have read enough, or nobody knows yet whether it will
 * read it again.
 */
function isFilling({ fills, probeAfter, readRate, cacheGrowth }: Belief, at: number): boolean {
  return (fills > 0 && at < probeAfter) || Math.min(readRate, cacheGrowth) >= READS_LEAST;
}

/** Folds what the guest has read from its disks, where that was asked for, into what is believed of its cache. */
export function readCache(draft: Draft, figure: Figure, at: number, config: PolicyConfig): void {
  if (at >= draft.probeAfter) draft.working = draft.cacheFloor = 0;
  noteReads(draft, figure(READS), at, config);
  keepWhileRising(draft, at, config);
}

function noteReads(draft: Draft, reads: number, at: number, config: PolicyConfig): void {
  if (Number.isNaN(reads)) return;
  if (reads < 0) {
    draft.reads = reads;
    draft.readRate = Number.NaN;
    return;
  }
  const elapsed = at - draft.readsAt;
  // It falls where a disk was detached.
  const read = draft.reads < 0 ? Number.NaN : reads - draft.reads;
  draft.reads = reads;
  draft.readsAt = at;
  if (!(elapsed > 0) || !(read >= 0) || elapsed > READS_MOST_APART) {
    // The first reading, or one after a long time, tells no rate.
    draft.readsSince = at;
    draft.readRate = Number.NaN;
    draft.cacheAtReads = cacheOf(draft);
    draft.cacheGrowth = 0;
    return;
  }
  draft.readRate = (read / elapsed) * 1000;
  judgeReads(draft, elapsed, at, config);
}

/**
 * Where its programs take memory, a guest that has less than before memcoord came is given what they take on top of its cache: nobody knows
 * yet whether it works in that.
 */
function keepWhileRising(draft: Draft, at: number, config: PolicyConfig): void {
  const { intervalMs } = config;
  const { trend, used, original, target, cacheFloor } = draft;
  if (!isRising(draft, at, config) || !hasCache(draft)) return;
  const ahead = Math.max(LEAST_SPARE, (2 * trend * (intervalMs + UNSEEN)) / 1000);
  const size = Math.min(original, used + cacheOf(draft) + ahead);
  if (!(size > Math.max(cacheFloor, target))) return;
  draft.cacheFloor = size;
  draft.probeAfter = Math.max(draft.probeAfter, at + FIRST_PROBE_PAUSE);
}

function judgeReads(draft: Draft, elapsed: number, at: number, config: PolicyConfig): void {
  const { actual, original, target, unused } = draft;
  const whole = actual >= original - SAME;
  const free = isRoomy(draft, unused);
  // What its cache grew by it read for the first time.
  const cache = cacheOf(draft);
  const first = Math.max(0, cache - draft.cacheAtReads);
  draft.cacheAtReads = cache;
  draft.cacheGrowth = (1000 * first) / elapsed;
  const again = Math.max(0, draft.readRate - draft.cacheGrowth);
  if (Number.isNaN(draft.usualReads)) draft.usualReads = 0;
  const above = (Math.max(0, again - READS_USUAL * draft.usualReads) * elapsed) / 1000;
  // What it was given back it reads once more. That it has read enough has yet to be seen.
  if (draft.fills > 0) draft.fills = Math.max(SAME, draft.fills - first);
  const filled = Math.min(above, Math.max(0, draft.fills - SAME));
  draft.fills -= filled;
  // It has read again what it wanted, and no more than it was given: that it works in.
  if (draft.fills > 0 && above + first <= (READS_LEAST * elapsed) / 1000) {
    draft.working = Math.max(draft.working, cacheOf(draft));
    draft.fills = 0;
  }
  draft.excess = free ? 0 : draft.excess * 2 ** (-elapsed / READS_HALVE) + above - filled;
  if (!whole && above > 0) {
    draft.rereads += above;
    if (draft.excess >= READS_RISE / 4) draft.rereadMs += elapsed;
  }
  const cut = at - draft.cutAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs);
  if (draft.excess < READS_RISE) {
    if (draft.excess < READS_RISE / 4) draft.quietSize = actual;
    // The mean of the first readings, unless it has lost memory already: then it may be that which it reads.
    const least = whole || free ? elapsed / (at - draft.readsSince) : 0;
    const halves = again < draft.usualReads ? USUAL_FALLS : USUAL_HALVES;
    const weight = Math.max(least, 1 - 2 ** (-elapsed / halves));
    if (!cut && filled === 0) draft.usualReads += weight * (again - draft.usualReads);
    return;
  }
  // What it reads with all that it had before memcoord came is its own affair, and usual from now on.
  if (whole && !cut) {
    draft.usualReads = again;
    draft.excess = draft.fills = 0;
    // More memory has not helped: nothing is to be kept for it.
    draft.cacheFloor = 0;
    draft.probeAfter = at;
    draft.probePause = FIRST_PROBE_PAUSE;
    return;
  }
  const before = Math.max(draft.quietSize || 0, draft.shrunkFrom || 0);
  // The last step is to blame, unless its programs have taken memory since: then it lacks more than that.
  const soon = cut && before > actual + SAME && !isRising(draft, at, config);
  // What was to come has not.
  if (!soon && Math.min(actual, target) < draft.cacheFloor - SAME) return;
  draft.cacheFloor = soon ? before : Math.min(Math.max(original || 0, before), actual + Math.max(CACHE_STEP, actual / 2));
  if (soon) draft.working = Math.max(0, before - draft.used);
  draft.fills = Math.max(0, draft.cacheFloor - actual);
  draft.probeAfter = at + draft.probePause;
  draft.probePause = Math.min(2 * draft.probePause, LAST_PAUSE);
  draft.probes = 0;
  draft.excess = 0;
}

/**
 * What may be taken from a guest while nobody waits, KiB: what it has free; or, where nothing is, a step into its cache, which is larger the
 * longer it goes well. Nothing of the size that is kept for its cache.
 */
export function mostToProbe(belief: Belief, at: number): number {
  const { target, cacheFloor, maximum, probes } = belief;
  const above = Math.max(0, target - cacheFloor);
  if (!hasCache(belief)) return above;
  if (isFilling(belief, at)) return 0;
  const free = freeOf(belief);
  if (free >= GIVE_MARGIN) return Math.min(free, above);
  if (!mayProbe(belief, at)) return 0;
  const most = Math.max(PROBE_STEP, maximum * PROBE_FRACTION);
  return Math.min(above, Math.min(most, PROBE_STEP * 2 ** Math.floor(probes / PROBE_DOUBLES)));
}

/** The last step was watched for long enough, and cost nothing that shows. */
function mayProbe({ probeAfter, cutAt, probes, readsAt, readsSince, reads, excess }: Belief, at: number): boolean {
  if (at < probeAfter || at - cutAt < Math.max(LAST_PROBE_REST, FIRST_PROBE_REST / (1 + probes / 2))) return false;
  // Where the hypervisor does not tell of reads, swap-in and major faults alone tell of a step too many.
  if (reads < 0) return true;
  return readsAt === at && at - readsSince >= READS_BASELINE && excess < READS_RISE / 4;
}

/** Notes a shrink that takes cache. */
export function noteCut(draft: Draft, to: number, at: number): void {
  if (!hasCache(draft) || isRoomy(draft, draft.unused - (draft.target - to))) return;
  draft.cutAt = at;
  draft.fills = 0;
  draft.probes++;
}

/** Whether a guest's reads are to be watched: its cache is, or may soon be, taken, or it may have come to work in what was taken. */
export function isWatched(belief: Belief, at: number): boolean {
  const { phase, target, allocation, original, probeAfter, cutAt, readsAt, unused } = belief;
  if (phase !== 'steady' || !hasCache(belief)) return false;
  if (at - cutAt < WATCHED_FOR || isFilling(belief, at)) return true;
  if (target > allocation + 2 * GIVE_MARGIN && at >= probeAfter - 2 * READS_BASELINE) return true;
  // What it may have come to work in since: seldom while it idles, as reading the counters is not free.
  if (!(target < original - SAME) || isRoomy(belief, unused)) return false;
  return !isIdle(belief, at) || at - readsAt >= WATCH_IDLE;
}

/** What is worth remembering of a guest's cache. */
export function rememberCache({ working, cacheFloor, probeAfter, probePause, rereads, rereadMs }: Belief): RememberedCache {
  return { working, floor: cacheFloor, probeAfter: Math.max(0, probeAfter), pause: probePause, rereads, rereadMs };
}

/** Takes it over; it comes out of a file, so nothing in it is believed that is out of bounds. */
export function recallCache(draft: Draft, { working, floor, probeAfter, pause, rereads, rereadMs }: RememberedCache, at: number): void {
  draft.probeAfter = Math.min(at + LAST_PAUSE, probeAfter);
  draft.working = Math.min(working, draft.maximum);
  draft.cacheFloor = Math.min(floor, draft.maximum);
  draft.probePause = Math.min(LAST_PAUSE, Math.max(FIRST_PROBE_PAUSE, pause));
  draft.rereads = rereads;
  draft.rereadMs = rereadMs;
}
