/** Step 2: who gets what out of the capacity. */

import type { HostState } from './belief.js';
import { column, fill, sum } from './water.js';

/** A guest that can be moved, as the allocation sees it: a belief, or what looks like one. KiB. */
export interface Claim {
  /** What the guest uses. */
  readonly used: number;
  /** Least that it may be given. */
  readonly effectiveFloor: number;
  readonly ceiling: number;
  readonly share: number;
  /** What it holds: max(target, actual). Matters only where not everyone can keep its critical spare. */
  readonly holds: number;
  /** `used` and the spare that nobody takes, within the guest's bounds. */
  readonly critical: number;
  /** What it should have, were there room for all, within the guest's bounds. */
  readonly need: number;
}

export interface Allocation {
  readonly state: HostState;
  /** KiB, in the order of the claims. */
  readonly sizes: Float64Array;
}

/**
 * Shares `capacity` (KiB) out among the claims. With λ found by filling (water.ts), for each guest i:
 *
 * - ample, Σ need ≤ capacity: `need_i`; with `surplus: guests` what is left is filled on top, `used_i + λ share_i` up to the ceiling,
 *   so that the spare per share is equal.
 * - contended, Σ critical ≤ capacity < Σ need: `used_i + λ share_i` between `critical_i` and `need_i`. The spare per share is equal;
 *   nobody has more than it needs, so idle memory goes before busy memory. Joins the ample case without a step.
 * - overcommitted, capacity < Σ critical: `used_i + λ share_i` between min(holds_i, critical_i) and `critical_i`. Nobody is
 *   pushed into its critical spare for another; what someone holds beyond that goes to those with the least spare.
 */
export function allocate(claims: readonly Claim[], capacity: number, surplus: 'host' | 'guests'): Allocation {
  const need = column(claims, (claim) => claim.need);
  const level = (lower: Float64Array, upper: Float64Array) => {
    const base = column(claims, ({ used }) => Math.max(0, used));
    return fill({ base, lower, upper, share: column(claims, ({ share }) => share) }, capacity);
  };
  if (sum(need) <= capacity) {
    const sizes =
      surplus === 'guests'
        ? level(
            need,
            column(claims, ({ ceiling }) => ceiling),
          )
        : need;
    return { state: 'ample', sizes };
  }
  const critical = column(claims, (claim) => claim.critical);
  if (sum(critical) <= capacity) return { state: 'contended', sizes: level(critical, need) };
  const keeps = column(claims, ({ effectiveFloor, holds, critical }) => Math.max(effectiveFloor, Math.min(holds, critical)));
  return { state: 'overcommitted', sizes: level(keeps, critical) };
}
