/** What a guest brings to the filling: its level is `base + λ · share`, held between `lower` and `upper`. */
export interface Vessel {
  readonly base: number;
  readonly lower: number;
  readonly upper: number;
  readonly share: number;
}

/**
 * Weighted max-min filling: finds the one λ with
 *
 *     Σ clamp(base_i + λ · share_i, lower_i, upper_i) = total
 *
 * and returns the sizes. The sum grows with λ and is linear between the points where a vessel leaves its lower bound or reaches
 * its upper one; sorted, these are walked once: O(n log n), exact (Bertsekas and Gallager, Data Networks, 6.5.2, with bounds).
 *
 * Does not depend on the order of the vessels. Where `total` is under the sum of the lower bounds everyone gets its lower bound,
 * where it is over the sum of the upper ones its upper bound. Needs lower ≤ upper and share > 0.
 */
export function fill(vessels: readonly Vessel[], total: number): Float64Array {
  const points: { at: number; slope: number }[] = [];
  let sum = 0;
  for (const { base, lower, upper, share } of vessels) {
    sum += lower;
    if (upper > lower) points.push({ at: (lower - base) / share, slope: share }, { at: (upper - base) / share, slope: -share });
  }
  let level = Number.NEGATIVE_INFINITY;
  if (sum < total) {
    points.sort((a, b) => a.at - b.at);
    let slope = 0;
    for (const point of points) {
      const reach = slope > 0 ? sum + slope * (point.at - level) : sum;
      if (reach >= total) break;
      sum = reach;
      slope += point.slope;
      level = point.at;
    }
    // Slopes are sums of shares: what is left after the last point is rounding, not a vessel still filling.
    if (slope > 1e-9 && sum < total) level += (total - sum) / slope;
  }
  return Float64Array.from(vessels, ({ base, lower, upper, share }) =>
    level === Number.NEGATIVE_INFINITY ? lower : Math.min(upper, Math.max(lower, base + level * share)),
  );
}
