/**
 * What the time that a guest's virtual CPUs run tells of its memory: a guest that does not run takes none. Reading that time costs some
 * microseconds, refreshing a guest's figures some milliseconds; so one that idles is only checked for activity, and sampled when it becomes active.
 */
import type { Belief, Draft } from './belief.js';
import { BUSY_LEAST, BUSY_PART, CLEARING_SPEED, FRESHLY_ACTIVE, IDLE_AFTER, ORDER_GRACE, SAME } from './limits.js';
import type { Sample } from './types.js';

/** Notes the time that the guest's virtual CPUs have run at a sample, and whether they were at work since the last. */
export function readActivity(draft: Draft, cpu: number, sample: Sample): void {
  const ran = cpu - draft.cpu;
  // Where the host does not tell it may be at work. A balloon on its way keeps a guest busy too: that says nothing of its own work.
  const moving = Math.abs(draft.target - draft.actual) > SAME || sample.at - draft.orderedAt <= ORDER_GRACE;
  const busy = Number.isNaN(cpu) || (ran > Math.max(BUSY_LEAST, BUSY_PART * (sample.at - draft.cpuAt)) && !moving);
  if (busy) noteWork(draft, sample.at);
  if (!sample.refreshed.has(draft.uuid)) draft.cpuAtSweep = draft.cpu;
  draft.cpu = cpu;
  draft.cpuAt = sample.at;
}

/** Notes that the guest is at work. */
export function noteWork(draft: Draft, at: number): void {
  if (isIdle(draft, at)) draft.activeSince = at;
  draft.busyAt = at;
}

/** A guest that has not been at work for a while. */
export function isIdle(belief: Belief, at: number): boolean {
  return at - belief.busyAt >= IDLE_AFTER;
}

/**
 * The most that a guest can have taken since its figures, KiB, at a rise of `rate` KiB/s. `cpu` is the time that its virtual CPUs have run
 * by now, ms; NaN = not known.
 *
 *     taken ≤ rate × time since the figures        the rise that the policy readies for
 *     taken ≤ clearing speed × time run since      what its CPUs can do
 *
 * One that was idle counts by the second alone: it is sampled as soon as it becomes active, and again and again until it shows what it does.
 */
export function takenAtMost(belief: Belief, rate: number, at: number, cpu: number): number {
  const byTime = (rate * (at - belief.takenAfter)) / 1000;
  const byWork = (cpu - belief.cpuAtFigures) * CLEARING_SPEED;
  if (Number.isNaN(byWork)) return byTime;
  return isIdle(belief, at) || at - belief.activeSince < FRESHLY_ACTIVE ? byWork : Math.min(byTime, byWork);
}
