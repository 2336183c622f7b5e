/** Reading a look, second part: the guest's own figures, paired with the balloon's size at their time. */
import { AVAILABLE, LAST_UPDATE, MAJOR_FAULT, MINOR_FAULT, READ_AT, SWAP_IN, UNUSED, USABLE } from '../sweep.js';
import { setBack } from './balloon.js';
import type { Belief, Figure } from './belief.js';
import { BALLOON_LATENCY, ORDER_GRACE, SAME, THRASH_FAULTS, THRASH_SWAP_IN, THRASH_WINDOW } from './limits.js';
import type { GuestContext, Look, PolicyConfig } from './types.js';

/** The guest's own figures, paired with the balloon's size at their time. */
export function readFigures(
  belief: Belief,
  previous: Belief,
  figure: Figure,
  look: Look,
  context: GuestContext | undefined,
  config: PolicyConfig,
): Belief {
  const now = {
    unused: figure(UNUSED),
    usable: figure(USABLE),
    available: figure(AVAILABLE),
    lastUpdate: figure(LAST_UPDATE),
    swapIn: figure(SWAP_IN),
    majorFault: figure(MAJOR_FAULT),
    minorFault: figure(MINOR_FAULT),
  };
  const answered = now.lastUpdate > 0 && sane(now, belief);
  const changed = answered && (Object.keys(now) as (keyof typeof now)[]).some((key) => !Object.is(now[key], previous[key]));
  if (!changed) return belief;
  // What was there when we came may be as old as the guest's last boot: only a change shows that the guest answers.
  if (Number.isNaN(previous.lastUpdate) && look.atFirstSight !== true) return { ...belief, ...now };

  const refreshed = look.refreshed.has(belief.uuid);
  const paired = pair(belief, previous, now.available, look, refreshed, context);
  const spare = belief.signal === 'unused' ? now.unused : now.usable;
  // More spare than memory: the figures are of another size than we think.
  if (spare > paired.size) return { ...belief, ...now };
  const readAt = figure(READ_AT);
  const at = Number.isFinite(readAt) ? Math.min(readAt, look.at) : look.at;
  const used = paired.size - spare;
  const elapsed = at - belief.figuresAt;
  const known = { ...belief, ...now, ...paired, used, figuresAt: at, samples: belief.samples + 1 };
  if (!(elapsed > 0)) return known;
  return { ...known, trend: trend(belief, used, elapsed), ...thrash(belief, now, elapsed, look.at, config) };
}

/** The balloon's size at the time of the figures: `available + K`, or, where K does not serve, what the balloon's rest allows to say. */
function pair(belief: Belief, previous: Belief, available: number, look: Look, refreshed: boolean, context: GuestContext | undefined) {
  // With autodeflate MemTotal does not follow the balloon [M].
  const follows = context?.facts?.autodeflate !== true;
  // Figures that change after a rest of the balloon longer than they can be old are of this size.
  const old = (refreshed ? 0 : (context?.statsPeriod ?? 0) * 1000) + ORDER_GRACE;
  const arrived = refreshed && Math.abs(belief.actual - belief.target) <= SAME && look.at - belief.orderedAt >= 2 * BALLOON_LATENCY;
  const resting = look.atFirstSight === true || arrived || look.at - belief.restingSince >= old;
  const kernelSeen = follows && resting && available <= belief.actual ? belief.actual - available : belief.kernelSeen;
  const agrees = Math.abs(kernelSeen - belief.kernelSeen) <= SAME;
  const kernel = agrees ? kernelSeen : belief.kernel;
  if (follows && Number.isFinite(kernel)) return { kernel, kernelSeen, size: available + kernel, paired: true };
  // The larger of the sizes that it can have been: too much use is assumed, never too little.
  return { kernel, kernelSeen, size: resting ? belief.actual : Math.max(belief.actual, previous.actual), paired: resting };
}

/** A guest may say anything: figures that can't be are taken for no answer at all. */
function sane(now: { unused: number; usable: number; available: number }, belief: Belief): boolean {
  const spare = belief.signal === 'unused' ? now.unused : now.usable;
  return spare >= 0 && spare <= belief.maximum && !(now.available > belief.maximum) && !(now.available < 0);
}

/** Fast up, slow down (time constant 4 s), never negative. */
function trend(belief: Belief, used: number, elapsed: number): number {
  if (Number.isNaN(belief.used)) return 0;
  const seen = Math.max(0, ((used - belief.used) / Math.max(elapsed, 200)) * 1000);
  const weight = seen > belief.trend ? 0.6 : 1 - Math.exp(-elapsed / 4000);
  return belief.trend + weight * (seen - belief.trend);
}

/** Swap-in and major faults: the usual rate while left alone, and a rise soon after a shrink. */
function thrash(
  belief: Belief,
  now: { swapIn: number; majorFault: number },
  elapsed: number,
  at: number,
  config: PolicyConfig,
): Partial<Belief> {
  const swapped = ((now.swapIn - belief.swapIn) / elapsed) * 1000;
  const faults = ((now.majorFault - belief.majorFault) / elapsed) * 1000;
  const probing = at - belief.shrunkAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs);
  if (!probing) return Number.isFinite(faults) ? { usualFaults: belief.usualFaults + 0.1 * (faults - belief.usualFaults) } : {};
  // One failed shrink counts once, however long the guest goes on swapping.
  if (at < belief.shrinkAfter) return {};
  if (!(swapped > THRASH_SWAP_IN || faults > THRASH_FAULTS + 4 * belief.usualFaults)) return {};
  return { ...setBack(belief, at), reachable: belief.shrunkFrom, rollback: { reason: 'thrashing', to: belief.shrunkFrom } };
}
