/** Step 2: who gets what out of the capacity. */

import type { HostState } from './belief.js';
import type { Demand } from './demand.js';
import { fill } from './water.js';

/** A guest that can be moved, as the allocation sees it. */
export interface Claim extends Demand {
  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  /** What it holds, KiB: max(target, actual). Matters only where not everyone can keep its critical spare. */
  readonly holds: number;
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
  const total = (of: (claim: Claim) => number) => claims.reduce((sum, claim) => sum + of(claim), 0);
  const level = (lower: (claim: Claim) => number, upper: (claim: Claim) => number) =>
    fill(
      claims.map((claim) => ({ base: claim.used, share: claim.share, lower: lower(claim), upper: upper(claim) })),
      capacity,
    );
  if (total((claim) => claim.need) <= capacity) {
    const sizes =
      surplus === 'guests'
        ? level(
            (claim) => claim.need,
            (claim) => claim.ceiling,
          )
        : Float64Array.from(claims, (claim) => claim.need);
    return { state: 'ample', sizes };
  }
  if (total((claim) => claim.critical) <= capacity) {
    return {
      state: 'contended',
      sizes: level(
        (claim) => claim.critical,
        (claim) => claim.need,
      ),
    };
  }
  const keeps = (claim: Claim) => Math.max(claim.floor, Math.min(claim.holds, claim.critical));
  return { state: 'overcommitted', sizes: level(keeps, (claim) => claim.critical) };
}
