/** Reading a sample, second part: the guest's own figures, paired with the balloon's size at their time. */
import { AVAILABLE, LAST_UPDATE, MAJOR_FAULT, MINOR_FAULT, READ_AT, SWAP_IN, UNUSED, USABLE } from '../sweep.js';
import { noteWork } from './activity.js';
import { setBack } from './balloon.js';
import type { Belief, Draft, Figure } from './belief.js';
import { BALLOON_LATENCY, BUSY_RISE, ORDER_GRACE, REFRESHED_AGE, SAME, THRASH_FAULTS, THRASH_SWAP_IN, THRASH_WINDOW } from './limits.js';
import type { GuestContext, PolicyConfig, Sample } from './types.js';

/**
 * The guest's own figures, paired with the balloon's size at their time.
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
  const spare = figure(draft.signal === 'unused' ? UNUSED : USABLE);
  if (!(figure(LAST_UPDATE) > 0) || !sane(spare, figure(AVAILABLE), draft.maximum) || !changed(draft, figure)) return;
  // What was there when we came may be as old as the guest's last boot: only a change shows that the guest answers.
  if (Number.isNaN(draft.lastUpdate) && sample.atFirstSight !== true) {
    take(draft, figure);
    return;
  }

  const { kernel, kernelSeen, size, paired } = pair(draft, before.actual, figure(AVAILABLE), sample, context);
  // More spare than memory: the figures are of another size than we think.
  if (spare > size) {
    take(draft, figure);
    return;
  }
  const readAt = figure(READ_AT);
  const seenAt = Number.isFinite(readAt) ? Math.min(readAt, sample.at) : sample.at;
  // After a gap in the readings (libvirt or QEMU hung) they can be as old as the last reading, a refresh or not: it may not have answered that.
  const gap = sample.at - before.actualAt > 2 * Math.max((context?.statsPeriod ?? 0) * 1000, config.intervalMs);
  const at = gap ? Math.max(before.actualAt, draft.figuresAt || 0) : seenAt;
  const used = size - spare;
  const elapsed = at - draft.figuresAt;
  if (elapsed > 0) {
    draft.trend = trend(draft, used, elapsed);
    thrash(draft, figure, elapsed, sample.at, config);
  }
  const refreshed = sample.refreshed.has(draft.uuid);
  // Those that came by themselves can be as old as the stats period, but no older than the ones before them.
  draft.takenAfter = refreshed ? at - REFRESHED_AGE : Math.max(at - (context?.statsPeriod ?? 0) * 1000, draft.figuresAt || 0);
  draft.cpuAtFigures = refreshed ? draft.cpu : draft.cpuAtSweep;
  if (used - draft.used > BUSY_RISE) noteWork(draft, sample.at);
  take(draft, figure);
  draft.kernel = kernel;
  draft.kernelSeen = kernelSeen;
  draft.size = size;
  draft.paired = paired;
  draft.used = used;
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

/** The balloon's size at the time of the figures: `available + K`, or, where K does not serve, what the balloon's rest allows to say. */
function pair(belief: Belief, before: number, available: number, sample: Sample, context: GuestContext | undefined) {
  const { actual } = belief;
  const refreshed = sample.refreshed.has(belief.uuid);
  // With autodeflate MemTotal does not follow the balloon [M].
  const follows = context?.facts?.autodeflate !== true;
  // Figures that change after a rest of the balloon longer than they can be old are of this size.
  const old = (refreshed ? 0 : (context?.statsPeriod ?? 0) * 1000) + ORDER_GRACE;
  const arrived = refreshed && Math.abs(actual - belief.target) <= SAME && sample.at - belief.orderedAt >= 2 * BALLOON_LATENCY;
  const resting = sample.atFirstSight === true || arrived || sample.at - belief.restingSince >= old;
  const kernelSeen = follows && resting && available <= actual ? actual - available : belief.kernelSeen;
  const agrees = Math.abs(kernelSeen - belief.kernelSeen) <= SAME;
  const kernel = agrees ? kernelSeen : belief.kernel;
  if (follows && Number.isFinite(kernel + available)) return { kernel, kernelSeen, size: available + kernel, paired: true };
  // The larger of the sizes that it can have been: too much use is assumed, never too little.
  return { kernel, kernelSeen, size: resting ? actual : Math.max(actual, before), paired: resting };
}

/** A guest may say anything: figures that can't be are taken for no answer at all. */
function sane(spare: number, available: number, maximum: number): boolean {
  return spare >= 0 && spare <= maximum && !(available > maximum) && !(available < 0);
}

/** Fast up, slow down (time constant 4 s), never negative. */
function trend(belief: Belief, used: number, elapsed: number): number {
  if (Number.isNaN(belief.used)) return 0;
  const seen = Math.max(0, ((used - belief.used) / Math.max(elapsed, 200)) * 1000);
  const weight = seen > belief.trend ? 0.6 : 1 - Math.exp(-elapsed / 4000);
  return belief.trend + weight * (seen - belief.trend);
}

/** Swap-in and major faults: the usual rate while left alone, and a rise soon after a shrink. */
function thrash(draft: Draft, figure: Figure, elapsed: number, at: number, config: PolicyConfig): void {
  const swapped = ((figure(SWAP_IN) - draft.swapIn) / elapsed) * 1000;
  const faults = ((figure(MAJOR_FAULT) - draft.majorFault) / elapsed) * 1000;
  const probing = at - draft.shrunkAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs);
  if (!probing) {
    if (Number.isFinite(faults)) draft.usualFaults += 0.1 * (faults - draft.usualFaults);
    return;
  }
  // One failed shrink counts once, however long the guest goes on swapping.
  if (at < draft.shrinkAfter) return;
  if (!(swapped > THRASH_SWAP_IN || faults > THRASH_FAULTS + 4 * draft.usualFaults)) return;
  setBack(draft, at);
  draft.reachable = draft.shrunkFrom;
  draft.rollback = { reason: 'thrashing', to: draft.shrunkFrom };
}
