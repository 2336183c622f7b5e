/** Step 2: who gets what out of the capacity. */
import type { HostState } from './guest.js';

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

// --- from water.ts
/** What guests bring to the filling, one number a guest in each array: its level is `base + λ · share`, held between `lower` and `upper`. */
export interface Vessels {
  readonly base: Float64Array;
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly share: Float64Array;
}

/**
 * Weighted max-min filling: finds the one λ with
 *
 *     Σ clamp(base_i + λ · share_i, lower_i, upper_i) = total
 *
 * and returns the sizes. The sum grows with λ and is linear between the points where a vessel leaves its lower bound or reaches
 * its upper one; the two between which the total lies are found among the sorted points by bisection: O(n log n), exact (Bertsekas
 * and Gallager, Data Networks, 6.5.2, with bounds).
 *
 * Does not depend on the order of the vessels. Where `total` is under the sum of the lower bounds everyone gets its lower bound,
 * where it is over the sum of the upper ones its upper bound. Needs lower ≤ upper and share > 0.
 */
export function fill({ base, lower, upper, share }: Vessels, total: number): Float64Array {
  // Most samples have enough for all or nothing to share out, and then there is nothing to sort.
  if (sum(lower) >= total) return lower.slice();
  if (sum(upper) <= total) return upper.slice();
  const n = base.length;
  // The first n are where the vessels leave their lower bound, the others where they reach their upper one.
  const points = new Float64Array(2 * n);
  for (let i = 0; i < n; i++) {
    points[i] = (at(lower, i) - at(base, i)) / at(share, i);
    points[n + i] = (at(upper, i) - at(base, i)) / at(share, i);
  }
  const sorted = points.slice().sort();
  const sizes = new Float64Array(n);
  const pour = (level: number) => {
    for (let i = 0; i < n; i++) sizes[i] = Math.min(at(upper, i), Math.max(at(lower, i), at(base, i) + level * at(share, i)));
    return sum(sizes);
  };
  // At the first point all are at their lower bounds, past the last one at their upper ones.
  let under = 0;
  let over = 2 * n - 1;
  while (over - under > 1) {
    const middle = (under + over) >> 1;
    if (pour(at(sorted, middle)) <= total) under = middle;
    else over = middle;
  }
  const level = at(sorted, under);
  const missing = total - pour(level);
  let slope = 0;
  for (let i = 0; i < n; i++) if (at(points, i) <= level && level < at(points, n + i)) slope += at(share, i);
  // Where rounding has made one point of two, nobody is filling between them.
  if (slope > 0) pour(level + missing / slope);
  return sizes;
}

/** One number of each of `items`. */
export function column<T>(items: readonly T[], of: (item: T, i: number) => number): Float64Array {
  const numbers = new Float64Array(items.length);
  for (let i = 0; i < items.length; i++) numbers[i] = of(items[i] as T, i);
  return numbers;
}

export function sum(numbers: Float64Array): number {
  let total = 0;
  for (let i = 0; i < numbers.length; i++) total += at(numbers, i);
  return total;
}

function at(numbers: Float64Array, i: number): number {
  return numbers[i] ?? Number.NaN;
}
