/**
 * Reads a sample: where the balloon is and whether it does what was ordered; the guest's own figures, paired with the balloon's size at
 * their time; the guest's activity; and what outlives this process.
 */
import { ACTUAL, AVAILABLE, LAST_UPDATE, MAJOR_FAULT, MINOR_FAULT, READ_AT, RSS, RSS_FILE, SWAP_IN, UNUSED, USABLE } from '../sweep.js';
import { recallCache, rememberCache } from './cache.js';
import { type Belief, type Draft, type Figure, isIdle, isSame, type Rollback } from './guest.js';
import {
  ADOPTED_INTERVALS,
  BALLOON_LATENCY,
  BUSY_LEAST,
  BUSY_PART,
  BUSY_RISE,
  CLEARING_SPEED,
  DEFLATES_FASTER,
  FIRST_PAUSE,
  FIRST_REFUSED_PAUSE,
  FIRST_THRASH_PAUSE,
  FOLLOWS_LEAST,
  FRESHLY_ACTIVE,
  GRANT_SHOWS,
  HIDDEN_HALVES,
  HIDDEN_MOST,
  LAST_PAUSE,
  LEAST_PROGRESS,
  LEAST_SAMPLE,
  MOST_FALLS,
  ORDER_GRACE,
  PROGRESS_WINDOW,
  REFRESHED_AGE,
  SAME,
  THRASH_FAULTS,
  THRASH_STEP,
  THRASH_SWAP_IN,
  THRASH_WINDOW,
  UNDER_WAY,
} from './limits.js';
import type { GuestContext, PolicyConfig, Remembered, Sample, Signal } from './types.js';

/** Reads the balloon: where it is, how it moved, and whether somebody else moved it. */
export function readBalloon(draft: Draft, figure: Figure, at: number, config: PolicyConfig, remembered: Remembered | undefined): void {
  const { actual: before, actualAt: readBefore, target } = draft;
  // The guest reports `actual`, and nobody checks it. A size above the maximum would be charged at the expense of all others.
  const actual = figure(ACTUAL) > draft.maximum ? draft.maximum : figure(ACTUAL);
  draft.actual = actual;
  draft.actualAt = at;
  readProcess(draft, figure, at);
  const moved = actual - before;
  draft.rising = false;
  if (Math.abs(moved) <= SAME) return;
  draft.restingSince = at;
  if (Number.isNaN(before)) {
    draft.windowActual = actual;
    recall(draft, remembered, at);
    return;
  }
  const gap = target - before;
  const astray = moved * gap <= 0 || Math.abs(moved) > Math.abs(gap) + SAME;
  // Soon after an order, the balloon may still follow the order before. Neither order takes it beyond the range between them.
  const { orderedFrom, windowActual } = draft;
  const beyond = actual > Math.max(target, orderedFrom, windowActual) + SAME || actual < Math.min(target, orderedFrom, windowActual) - SAME;
  if (at - draft.orderedAt > ORDER_GRACE ? astray : beyond) {
    // Rule 13. A boot of the guest moves the balloon too; adopting that size loses nothing.
    draft.target = draft.windowActual = actual;
    draft.windowAt = at;
    draft.adopting = true;
    draft.adoptedAt = at;
    draft.rising = moved > 0;
    // During a boot nobody has set the size, so guests that wait for memory need not wait for a pause.
    const boots = draft.phase === 'booting' && Number.isFinite(draft.rebootedAt);
    if (!boots) {
      const pause = at + ADOPTED_INTERVALS * config.intervalMs;
      if (pause >= draft.shrinkAfter) draft.thrashed = false;
      draft.shrinkAfter = Math.max(draft.shrinkAfter, pause);
      // The size that somebody else set is newer than the rollback.
      if (draft.rollback?.reason === 'thrashing') draft.rollback = null;
    }
    return;
  }
  // Speed is learned only from a balloon that was still moving at both samples. A balloon that has arrived may have been faster.
  const under = Math.abs(moved) < Math.abs(gap) - SAME && windowActual !== before;
  const taken = moved < 0 ? -moved : moved / DEFLATES_FASTER;
  if (under && at > readBefore) draft.speed += 0.5 * ((1000 * taken) / (at - readBefore) - draft.speed);
}

/** Reads the domain's process on the host. What the process has taken since the last reading counts as part of what was granted. */
function readProcess(draft: Draft, figure: Figure, at: number): void {
  const rss = figure(RSS);
  draft.rssFile = figure(RSS_FILE) || 0;
  const taken = rss - draft.rss;
  if (taken > 0) {
    const left = taken - draft.grantedBefore;
    draft.grantedBefore = Math.max(0, -left);
    draft.granted = Math.max(0, draft.granted - Math.max(0, left));
  }
  if (at - draft.grantedSince >= GRANT_SHOWS / 2) {
    draft.grantedBefore = at - draft.grantedSince >= GRANT_SHOWS ? 0 : draft.granted;
    draft.granted = 0;
    draft.grantedSince = at;
  }
  draft.rss = rss;
}

/** Rules 1 and 7: watches a move under way. If it makes no progress, its target is taken back. */
export function progress(draft: Draft, at: number): void {
  const { actual, windowActual } = draft;
  const gap = draft.target - actual;
  if (Math.abs(gap) <= SAME) {
    // The guest went below the size where it was stuck, so that limit no longer holds.
    if (actual < draft.reachable - SAME) draft.reachable = 0;
    // The growth has come, so its pauses start over.
    if (draft.grownAt === draft.orderedAt) draft.growPause = FIRST_REFUSED_PAUSE;
  } else {
    // Time is that of the readings, which may come a little early. Without a reading, nothing is known of the progress.
    if (draft.actualAt - draft.windowAt < PROGRESS_WINDOW - LEAST_SAMPLE) return;
    const come = gap < 0 ? windowActual - actual : actual - windowActual;
    if (come < Math.min(LEAST_PROGRESS, Math.abs(gap))) {
      draft.rollback = { reason: 'no-progress', to: actual };
      if (gap < 0) {
        draft.thrashed = false;
        setBack(draft, at);
        draft.phase = 'stuck';
        draft.reachable = actual;
        return;
      }
      // If a growth does not come, somebody else has set another target, or it is impossible. It is ordered again, less and less often.
      draft.growAfter = at + draft.growPause;
      draft.growPause = Math.min(2 * draft.growPause, LAST_PAUSE);
    }
  }
  openWindow(draft, at);
}

/** Starts watching progress from here. */
export function openWindow(draft: Draft, at: number): void {
  draft.windowActual = draft.actual;
  draft.windowAt = at;
}

/** False once a rollback has been carried out, or its pause is over. */
export function stillOpen(belief: Belief, rollback: Rollback, at: number): boolean {
  const down = belief.target > belief.actual && rollback.reason === 'no-progress';
  return down ? belief.target > rollback.to + SAME : belief.target < rollback.to && at < belief.shrinkAfter;
}

/** Notes a failed shrink: no shrinking for a while, and for twice as long the next time. */
function setBack(draft: Draft, at: number, first = FIRST_PAUSE): void {
  const { pause, shrinkAfter } = draft;
  // A pause that ended long ago is forgotten.
  const due = Math.max(first, at - shrinkAfter > pause && Number.isFinite(shrinkAfter) ? FIRST_PAUSE : pause);
  draft.shrinkAfter = at + due;
  draft.pause = Math.min(2 * due, LAST_PAUSE);
}

/**
 * Reads the guest's own figures and pairs them with the balloon's size at their time.
 *
 * @param before the balloon at the last reading
 */
export function readFigures(
  draft: Draft,
  before: Pick<Belief, 'actual' | 'actualAt'>,
  figure: Figure,
  sample: Sample,
  context: GuestContext | undefined,
  config: PolicyConfig,
): void {
  draft.signal = signalOf(context?.overrides.signal ?? config.signal, figure(USABLE), figure(UNUSED));
  const spare = figure(draft.signal === 'unused' ? UNUSED : USABLE);
  if (!(figure(LAST_UPDATE) > 0) || !sane(spare, figure(AVAILABLE), draft.maximum) || !changed(draft, figure)) return;
  // Figures that were there when memcoord came may be as old as the guest's last boot. Only a change shows that the guest answers.
  if (Number.isNaN(draft.lastUpdate) && sample.atFirstSight !== true) {
    take(draft, figure);
    return;
  }

  const resting = isResting(draft, sample, context);
  if (resting) noteFollowing(draft, figure(AVAILABLE), context);
  const found = pair(draft, before.actual, figure(AVAILABLE), resting);
  const { kernel, kernelSeen } = found;
  let { size, paired } = found;
  // More spare than memory: the figures are of another size than assumed.
  if (spare > size) {
    take(draft, figure);
    return;
  }
  const readAt = figure(READ_AT);
  const seenAt = Number.isFinite(readAt) ? Math.min(readAt, sample.at) : sample.at;
  // After a gap in the readings (libvirt or QEMU hung), the figures can be as old as the last reading, even with a refresh: the guest may
  // not have answered that.
  const gap = sample.at - before.actualAt > 2 * Math.max((context?.statsPeriod ?? 0) * 1000, config.intervalMs);
  const at = gap ? Math.max(before.actualAt, draft.figuresAt || 0) : seenAt;
  // The balloon has not had this size recently, so MemTotal does not follow it, whatever it did before.
  if (size < oldestSize(draft, before.actual) - SAME) {
    size = oldestSize(draft, before.actual);
    paired = false;
  }
  const elapsed = at - draft.figuresAt;
  const refreshed = sample.refreshed.has(draft.uuid);
  // Figures that came without a refresh can be as old as the stats period, but no older than the figures before them.
  const takenAfter = refreshed ? at - REFRESHED_AGE : Math.max(at - (context?.statsPeriod ?? 0) * 1000, draft.figuresAt || 0);
  // Both sets of figures were taken at an unknown moment between two known times. The time between them is counted from middle to middle.
  const between = (at + takenAfter - draft.figuresAt - draft.takenAfter) / 2;
  // If two sizes are possible, the believed use, plus its trend, holds as far as it lies between the uses that the two sizes give.
  const least = paired ? size : Math.min(draft.actual, before.actual || draft.actual);
  const expected = draft.used + (draft.trend * Math.max(0, between || 0)) / 1000;
  const used = paired || Number.isNaN(draft.used) ? size - spare : Math.min(size - spare, Math.max(least - spare, expected));
  const hid = paired && draft.paired ? newlyHidden(draft, size, figure(UNUSED), size - spare - draft.used) : 0;
  const rise = used - hid - draft.used;
  if (elapsed > 0) {
    draft.trend = trend(draft, rise, between);
    thrash(draft, figure, elapsed, sample.at, config);
  }
  draft.takenAfter = takenAfter;
  draft.cpuAtFigures = refreshed ? draft.cpu : draft.cpuAtSweep;
  if (rise > BUSY_RISE) noteWork(draft, sample.at);
  if (rise > SAME) draft.roseAt = sample.at;
  take(draft, figure);
  draft.kernel = kernel;
  draft.kernelSeen = kernelSeen;
  draft.size = size;
  draft.paired = paired;
  draft.used = used;
  draft.hidden = (draft.hidden + hid) * (elapsed > 0 ? 2 ** (-elapsed / HIDDEN_HALVES) : 1);
  draft.rssAtFigures = draft.rss;
  draft.figuresAt = at;
  draft.samples++;
}

function take(draft: Draft, figure: Figure): void {
  draft.unused = figure(UNUSED);
  draft.usable = figure(USABLE);
  draft.available = figure(AVAILABLE);
  draft.lastUpdate = figure(LAST_UPDATE);
  draft.swapIn = figure(SWAP_IN);
  draft.majorFault = figure(MAJOR_FAULT);
  draft.minorFault = figure(MINOR_FAULT);
}

function changed(belief: Belief, figure: Figure): boolean {
  return !(
    Object.is(figure(LAST_UPDATE), belief.lastUpdate) &&
    Object.is(figure(USABLE), belief.usable) &&
    Object.is(figure(UNUSED), belief.unused) &&
    Object.is(figure(AVAILABLE), belief.available) &&
    Object.is(figure(MINOR_FAULT), belief.minorFault) &&
    Object.is(figure(MAJOR_FAULT), belief.majorFault) &&
    Object.is(figure(SWAP_IN), belief.swapIn)
  );
}

/** The least size that the balloon can have had when the new figures were taken. */
function oldestSize({ actual, orderedFrom, windowActual }: Belief, before: number): number {
  return Math.min(actual, before || actual, orderedFrom || actual, windowActual || actual);
}

/** The figure that counts as spare. Linux before 4.6 and old Windows drivers report no `usable`; for these it is `unused`. */
export function signalOf(wanted: Signal, usable: number, unused: number): Signal {
  return Number.isNaN(usable) && Number.isFinite(unused) ? 'unused' : wanted;
}

/** True if figures that have just changed are of the balloon's present size: it has rested for longer than they can be old. */
function isResting(belief: Belief, sample: Sample, context: GuestContext | undefined): boolean {
  const refreshed = sample.refreshed.has(belief.uuid);
  const old = (refreshed ? 0 : (context?.statsPeriod ?? 0) * 1000) + ORDER_GRACE;
  const arrived = refreshed && isSame(belief.actual, belief.target) && sample.at - belief.orderedAt >= 2 * BALLOON_LATENCY;
  return sample.atFirstSight === true || arrived || sample.at - belief.restingSince >= old;
}

/**
 * Learns whether MemTotal follows the balloon. With `autodeflate`, and on Windows, it does not [M]. Nothing reports that, so it is learned
 * from what is seen: MemTotal does not follow if the balloon has moved, and MemTotal by less than half of that.
 */
function noteFollowing(draft: Draft, available: number, context: GuestContext | undefined): void {
  if (Number.isNaN(draft.followedActual) && context?.facts?.autodeflate === true) draft.follows = false;
  const moved = draft.actual - draft.followedActual;
  if (Math.abs(moved) >= FOLLOWS_LEAST) draft.follows = (available - draft.followedAvailable) / moved > 1 / 2;
  else if (!Number.isNaN(moved)) return;
  draft.followedActual = draft.actual;
  draft.followedAvailable = available;
}

/** The balloon's size at the time of the figures: `actual` while the balloon rests, otherwise `available + kernel` if that is known. */
function pair({ actual, follows, kernel: known, kernelSeen: seen }: Belief, before: number, available: number, resting: boolean) {
  const kernelSeen = follows && resting && available <= actual ? actual - available : seen;
  const kernel = isSame(kernelSeen, seen) ? kernelSeen : known;
  if (resting) return { kernel, kernelSeen, size: actual, paired: true };
  if (follows && Number.isFinite(kernel + available)) return { kernel, kernelSeen, size: available + kernel, paired: true };
  // The larger of the sizes that it can have had: this assumes too much use, never too little.
  return { kernel, kernelSeen, size: Math.max(actual, before), paired: false };
}

/** A guest may report anything. Impossible figures count as no answer. */
function sane(spare: number, available: number, maximum: number): boolean {
  return spare >= 0 && spare <= maximum && !(available > maximum) && !(available < 0);
}

/**
 * How much more is hidden than at the last figures, KiB: memory that the guest's kernel was given and does not count as free. If it were in
 * use, or page cache, it would have been touched, and so be resident:
 *
 *     hidden ← min(48 MiB, max(0, hidden + min(grown, rise of use, grown − rise of MemFree − rise of resident memory)))
 *
 * The guest uses hidden memory before what counts as free: resident memory rises then, and MemFree does not fall.
 */
function newlyHidden(
  { hidden, size: before, unused: unusedBefore, rss, rssAtFigures }: Belief,
  size: number,
  unused: number,
  risen: number,
): number {
  const grown = size - before;
  const unseen = grown - (unused - unusedBefore) - (rss - rssAtFigures);
  if (!(rss > 0) || Number.isNaN(unseen)) return 0;
  // Memory that has become page cache counts as spare, so it does not raise use.
  const more = Math.min(Math.max(0, grown), Math.max(0, risen));
  return Math.min(HIDDEN_MOST, Math.max(0, hidden + Math.min(more, unseen))) - hidden;
}

/** The new trend after a rise of use: fast up, slow down (time constant 4 s), never negative. */
function trend(belief: Belief, rise: number, elapsed: number): number {
  if (Number.isNaN(rise)) return 0;
  const seen = Math.max(0, (rise / Math.max(elapsed, 200)) * 1000);
  const weight = seen > belief.trend ? 0.6 : 1 - Math.exp(-elapsed / 4000);
  return belief.trend + weight * (seen - belief.trend);
}

/**
 * Judges swap-in and major faults. A rise above the usual soon after a shrink takes the guest back to the last size without one: an earlier
 * shrink may already have been one too many, since a rise takes time to show. At any later time, a guest that has less than before memcoord
 * came gets part of that back, again and again while the rise lasts: it has come to need what was taken when it did not.
 */
function thrash(draft: Draft, figure: Figure, elapsed: number, at: number, config: PolicyConfig): void {
  // Counters that keep falling are rates: their differences mean nothing.
  if (draft.falls > MOST_FALLS) return;
  const swapped = ((figure(SWAP_IN) - draft.swapIn) / elapsed) * 1000;
  const faults = ((figure(MAJOR_FAULT) - draft.majorFault) / elapsed) * 1000;
  if (swapped < 0 || faults < 0) return;
  const { actual, original, size, sound, shrunkFrom, rollback } = draft;
  if (!(swapped > THRASH_SWAP_IN || faults > THRASH_FAULTS + 4 * draft.usualFaults)) {
    // What the guest has come to do since it was shrunk is not usual.
    const whole = actual >= original - SAME || !Number.isFinite(draft.shrunkAt);
    if (Number.isFinite(faults) && whole) draft.usualFaults += Math.max(0.1, 1 / draft.samples) * (faults - draft.usualFaults);
    draft.sound = size;
    return;
  }
  const before = Math.max(shrunkFrom || 0, sound || 0);
  const soon = at - draft.shrunkAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs) || size < sound - SAME;
  if (soon && before > draft.target) {
    // One failed shrink counts once, however long the guest goes on swapping.
    if (rollback !== null || (at < draft.shrinkAfter && draft.grownAt >= draft.shrunkAt)) return;
    draft.rollback = { reason: 'thrashing', to: before };
    draft.reachable = before;
  } else if (actual < original - SAME && rollback === null && isSame(actual, draft.target)) {
    draft.rollback = { reason: 'thrashing', to: Math.min(original, actual + Math.max(THRASH_STEP, actual / 4)) };
  } else return;
  draft.thrashed = true;
  setBack(draft, at, FIRST_THRASH_PAUSE);
}

/** Records the time that the guest's virtual CPUs had run at a sample, and whether the guest was at work since the last. */
export function readActivity(draft: Draft, cpu: number, sample: Sample): void {
  const ran = cpu - draft.cpu;
  // If the host does not report CPU time, the guest may be at work. A moving balloon keeps a guest busy without work of its own.
  const moving = Math.abs(draft.target - draft.actual) > SAME || sample.at - draft.orderedAt <= ORDER_GRACE;
  const busy = Number.isNaN(cpu) || (ran > Math.max(BUSY_LEAST, BUSY_PART * (sample.at - draft.cpuAt)) && !moving);
  if (busy) noteWork(draft, sample.at);
  if (!sample.refreshed.has(draft.uuid)) draft.cpuAtSweep = draft.cpu;
  draft.cpu = cpu;
  draft.cpuAt = sample.at;
}

/** Notes that the guest is at work. */
function noteWork(draft: Draft, at: number): void {
  if (isIdle(draft, at)) draft.activeSince = at;
  draft.busyAt = at;
}

/**
 * The most that a guest can have taken since its figures, KiB, at a rise of `rate` KiB/s. `cpu` is the time that its virtual CPUs have run
 * until now, ms; NaN = not known.
 *
 *     taken ≤ rate × time since the figures        the rise that the policy is prepared for
 *     taken ≤ clearing speed × time run since      what its CPUs can do
 *
 * For a guest that was idle, only the second bound counts: it is sampled as soon as it becomes active, and again and again until it shows
 * what it does.
 */
export function takenAtMost(belief: Belief, rate: number, at: number, cpu: number): number {
  const byTime = (rate * (at - belief.takenAfter)) / 1000;
  const byWork = (cpu - belief.cpuAtFigures) * CLEARING_SPEED;
  if (Number.isNaN(byWork)) return byTime;
  return isIdle(belief, at) || at - belief.activeSince < FRESHLY_ACTIVE ? byWork : Math.min(byTime, byWork);
}

/** What is worth remembering about a guest; null if it is not known yet what the guest had before memcoord came. */
export function remember(belief: Belief): Remembered | null {
  const { original, target, orderedAt, speed, phase, reachable, shrinkAfter, pause, thrashed } = belief;
  if (!Number.isFinite(original) || !Number.isFinite(target)) return null;
  return {
    original,
    target,
    orderedAt: Math.max(0, orderedAt),
    speed,
    reachable: phase === 'stuck' ? reachable : 0,
    shrinkAfter: Math.max(0, shrinkAfter),
    pause,
    thrashed,
    cache: rememberCache(belief),
  };
}

/**
 * At the first reading of a guest's balloon, restores what an earlier coordinator left behind about the same start of the guest. It comes
 * from a file, so nothing in it is believed that contradicts the balloon or the guest's bounds:
 *
 * - A move that was ordered a moment ago may be under way. Its target holds, so that a growth is charged before it comes (rule 3), and a
 *   shrink is not mistaken for somebody else's move (rule 13).
 * - If the last order is older and the balloon is somewhere else, somebody has set it meanwhile. Then the larger size counts as what the
 *   guest had before memcoord came: that is never guessed downwards. A growth that has not come stays charged until it is seen not to come.
 */
export function recall(draft: Draft, remembered: Remembered | undefined, at: number): void {
  const { actual, floor, maximum } = draft;
  draft.target = actual;
  if (remembered === undefined) return;
  draft.recalledAt = at;
  const { orderedAt, reachable } = remembered;
  const target = Math.min(maximum, Math.max(remembered.target, Math.min(floor, actual)));
  const original = Math.min(maximum, remembered.original);
  const ours = Math.abs(target - actual) <= SAME || (orderedAt > 0 && Math.abs(at - orderedAt) <= UNDER_WAY);
  draft.target = ours ? target : Math.max(target, actual);
  draft.original = ours ? original : Math.max(original, actual);
  // Times of a clock that has started anew are not kept, but a guest that does not have what it had was moved.
  if (orderedAt > 0 || Math.abs(remembered.original - remembered.target) > SAME) {
    draft.orderedAt = Math.min(at, orderedAt);
    draft.orderedTo = target;
  }
  // No balloon moves by more than the whole guest in a second.
  draft.speed = Math.min(maximum, remembered.speed);
  draft.reachable = reachable <= actual + SAME ? reachable : 0;
  draft.shrinkAfter = Math.min(at + LAST_PAUSE, remembered.shrinkAfter);
  draft.pause = Math.min(LAST_PAUSE, Math.max(FIRST_PAUSE, remembered.pause));
  draft.thrashed = remembered.thrashed && draft.shrinkAfter > at;
  recallCache(draft, remembered.cache, at);
}
