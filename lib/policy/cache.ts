/**
 * Page cache is not spare until it is proven to be (docs/ballooning.md, rule 16). A guest's `usable` counts all of its page cache as spare,
 * and a read() that misses the cache is no major fault. So a guest's figures do not distinguish cache in use from cache that will never be
 * read again. Cache is therefore *probed*: memcoord takes one step and watches what the guest reads from its disks. If reads above the
 * usual add up to a small part of a step, the step is undone, and the size before it is kept for a while. If there are none, the next step
 * may come sooner.
 *
 * Facts from Senpai and TMO (Weiner et al., ASPLOS '22), which probe with PSI. The balloon does not report PSI.
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
 * True if the guest has so much free memory that it reads into that, and does not reread what it had. Its kernel keeps more for itself the
 * larger the guest is, and nothing reports how much.
 */
function isRoomy({ maximum }: Belief, unused: number): boolean {
  return unused >= 2 * Math.max(WATERMARKS, maximum * KEPT_FRACTION) + 2 * LEAST_CACHE;
}

function hasCache(belief: Belief): boolean {
  return cacheOf(belief) >= LEAST_CACHE;
}

/**
 * True if the guest is reading into its free memory. Either it was given that memory for its cache and has not been seen to have read
 * enough, or it is not known yet whether it will read the data again.
 */
function isFilling({ fills, probeAfter, readRate, cacheGrowth }: Belief, at: number): boolean {
  return (fills > 0 && at < probeAfter) || Math.min(readRate, cacheGrowth) >= READS_LEAST;
}

/** Folds what the guest has read from its disks, if that was requested, into what is believed about its cache. */
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
  // The counter falls when a disk is detached.
  const read = draft.reads < 0 ? Number.NaN : reads - draft.reads;
  draft.reads = reads;
  draft.readsAt = at;
  if (!(elapsed > 0) || !(read >= 0) || elapsed > READS_MOST_APART) {
    // The first reading, or one after a long time, gives no rate.
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
 * If the programs of a guest take memory while it holds less than before memcoord came, the guest is given what they take on top of its
 * cache: it is not known yet whether the guest works in that cache.
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
  // Reads that made the cache grow were first reads.
  const cache = cacheOf(draft);
  const first = Math.max(0, cache - draft.cacheAtReads);
  draft.cacheAtReads = cache;
  draft.cacheGrowth = (1000 * first) / elapsed;
  const again = Math.max(0, draft.readRate - draft.cacheGrowth);
  if (Number.isNaN(draft.usualReads)) draft.usualReads = 0;
  const above = (Math.max(0, again - READS_USUAL * draft.usualReads) * elapsed) / 1000;
  // The guest fills the memory that it was given back by reading. Whether it has read enough is not known yet.
  if (draft.fills > 0) draft.fills = Math.max(SAME, draft.fills - first);
  const filled = Math.min(above, Math.max(0, draft.fills - SAME));
  draft.fills -= filled;
  // The guest has all but stopped reading: it works in the cache that it has now.
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
    // At first this is the plain mean, unless the guest has lost memory already: then it may be rereading just that.
    const least = whole || free ? elapsed / (at - draft.readsSince) : 0;
    const halves = again < draft.usualReads ? USUAL_FALLS : USUAL_HALVES;
    const weight = Math.max(least, 1 - 2 ** (-elapsed / halves));
    if (!cut && filled === 0) draft.usualReads += weight * (again - draft.usualReads);
    return;
  }
  // The guest has all that it had before memcoord came. So memcoord is not the cause of these reads, and from now on they are usual.
  if (whole && !cut) {
    draft.usualReads = again;
    draft.excess = draft.fills = 0;
    // More memory has not helped, so no size is kept for the cache.
    draft.cacheFloor = 0;
    draft.probeAfter = at;
    draft.probePause = FIRST_PROBE_PAUSE;
    return;
  }
  const before = Math.max(draft.quietSize || 0, draft.shrunkFrom || 0);
  // The last step is to blame, unless the guest's programs are taking memory: then it lacks more than that step.
  const soon = cut && before > actual + SAME && !isRising(draft, at, config);
  // The guest has not yet received what it was to be given.
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
 * The most that may be taken from a guest while nobody waits, KiB: its free memory, or, if it has none, a step into its cache. Steps grow
 * while they cost nothing. The size that is kept for its cache is never touched.
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

/** True if the last step was watched for long enough and has shown no cost. */
function mayProbe({ probeAfter, cutAt, probes, readsAt, readsSince, reads, excess }: Belief, at: number): boolean {
  if (at < probeAfter || at - cutAt < Math.max(LAST_PROBE_REST, FIRST_PROBE_REST / (1 + probes / 2))) return false;
  // If the hypervisor does not report reads, only swap-in and major faults show a step too many.
  if (reads < 0) return true;
  return readsAt === at && at - readsSince >= READS_BASELINE && excess < READS_RISE / 4;
}

/** Records a shrink that takes cache. */
export function noteCut(draft: Draft, to: number, at: number): void {
  if (!hasCache(draft) || isRoomy(draft, draft.unused - (draft.target - to))) return;
  draft.cutAt = at;
  draft.fills = 0;
  draft.probes++;
}

/** Whether to watch a guest's reads: its cache is being taken or may soon be, or it may have come to work in what was taken. */
export function isWatched(belief: Belief, at: number): boolean {
  const { phase, target, allocation, original, probeAfter, cutAt, readsAt, unused } = belief;
  if (phase !== 'steady' || !hasCache(belief)) return false;
  if (at - cutAt < WATCHED_FOR || isFilling(belief, at)) return true;
  if (target > allocation + 2 * GIVE_MARGIN && at >= probeAfter - 2 * READS_BASELINE) return true;
  // It may have come to work in what was taken. An idle guest is read rarely, as reading the counters is not free.
  if (!(target < original - SAME) || isRoomy(belief, unused)) return false;
  return !isIdle(belief, at) || at - readsAt >= WATCH_IDLE;
}

/** What is worth remembering about a guest's cache. */
export function rememberCache({ working, cacheFloor, probeAfter, probePause, rereads, rereadMs }: Belief): RememberedCache {
  return { working, floor: cacheFloor, probeAfter: Math.max(0, probeAfter), pause: probePause, rereads, rereadMs };
}

/** Restores what was remembered. It comes from a file, so no value out of bounds is believed. */
export function recallCache(draft: Draft, { working, floor, probeAfter, pause, rereads, rereadMs }: RememberedCache, at: number): void {
  draft.probeAfter = Math.min(at + LAST_PAUSE, probeAfter);
  draft.working = Math.min(working, draft.maximum);
  draft.cacheFloor = Math.min(floor, draft.maximum);
  draft.probePause = Math.min(LAST_PAUSE, Math.max(FIRST_PROBE_PAUSE, pause));
  draft.rereads = rereads;
  draft.rereadMs = rereadMs;
}
