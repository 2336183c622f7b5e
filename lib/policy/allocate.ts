/** Step 4, allocate: who gets what. */
import type { HostState } from './guest.js';
import { GROW_BAND } from './limits.js';

/** A guest that can be moved, as the allocation sees it (made by plan.ts). KiB. */
export interface Claim {
  /** What the guest uses. */
  readonly used: number;
  /** Smallest and largest size that it may be given. */
  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  /** What it is charged: max(target, actual). */
  readonly holds: number;
  /** Part of `holds` that the guest cannot give now; 0 = it may be asked for all of it. */
  readonly kept: number;
  /** What it uses, its critical spare, and what its trend takes until it is helped again, within the guest's bounds. */
  readonly critical: number;
  /** What it needs, and what it should have if there is room for all, within the guest's bounds. */
  readonly need: number;
  readonly want: number;
  /** What it had before memcoord came; 0 = not known. */
  readonly had: number;
}

/** Memory beyond what the guests hold, KiB (account.ts). */
export interface Room {
  /** For need; negative if the host is short. */
  readonly room: number;
  /** For keeping guests alive; at least `room`. */
  readonly reliefRoom: number;
  /** For optional growth. */
  readonly optionalRoom: number;
  /** Part of `optionalRoom` that surplus growth leaves to the next guest that is started. */
  readonly newcomer: number;
  /** What must come back to the host or the pool. */
  readonly shortage: number;
}

/** Result of {@link allocate}. */
export interface Allocation {
  readonly state: HostState;
  /** KiB, in the order of the claims. */
  readonly sizes: Float64Array;
}

/**
 * Distributes what the guests hold and the room beyond it. Filling (`fill`) finds λ; for each guest i:
 *
 * - No guest is pressed: Σ max(0, need_i − holds_i) ≤ room, and there is no shortage. Every guest gets its need. Cushions lie between
 *   need_i and want_i, at `used_i + λ share_i`. They are filled from the room up to what the guest had before memcoord came, and beyond
 *   that from the optional room. If there is no room for cushions, guests that have one keep it. With `surplus: guests`, the rest is filled
 *   on top, up to the ceilings.
 * - A guest waits in need and the room cannot pay it, or there is a shortage. Then the guests together get what they hold plus the room.
 *   The room is negative if the host is short, or may be before memcoord reacts; that is made up for before any guest is paid:
 *   - enough for every need: cushions give. `used_i + λ share_i` is between need_i and what the guest holds of want_i.
 *   - contended, enough for Σ critical: `used_i + λ share_i` is between critical_i and need_i. Spare per share is equal.
 *   - overcommitted, the relief room is added up to Σ critical: `used_i + λ share_i` is between min(max(floor_i, holds_i), critical_i) and
 *     critical_i. No guest is pushed into its critical spare for another. What a guest holds beyond that goes to those with the least
 *     spare.
 */
export function allocate(
  claims: readonly Claim[],
  { room, reliefRoom, optionalRoom, newcomer, shortage }: Room,
  surplus: 'host' | 'guests',
): Allocation {
  const base = column(claims, ({ used }) => Math.max(0, used || 0));
  const share = column(claims, (claim) => claim.share);
  const need = column(claims, ({ need, kept }) => Math.max(need, kept));
  const want = column(claims, ({ want, kept }) => Math.max(want, kept));
  const level = (lower: Float64Array, upper: Float64Array, total: number) => fill({ base, lower, upper, share }, total);
  const held = sum(column(claims, ({ holds }) => holds));
  // A guest that lacks less than GROW_BAND is not grown, and no guest gives for it.
  const short = sum(column(claims, ({ need, holds }) => (need - holds >= GROW_BAND ? need - holds : 0)));
  const unpaid = short > Math.max(0, room);
  const cushioned = column(claims, ({ need, want, holds, kept }) => Math.max(need, kept, Math.min(want, holds)));
  if (!unpaid && shortage <= 0) {
    const total = held + optionalRoom;
    const spreads = surplus === 'guests' && sum(want) <= total - newcomer;
    const ceilings = () => column(claims, ({ ceiling }) => ceiling);
    if (spreads) return { state: 'ample', sizes: level(want, ceilings(), total - newcomer) };
    const had = column(claims, ({ want, had }, i) => Math.max(cushioned[i] ?? 0, Math.min(want, had)));
    return { state: 'ample', sizes: level(level(cushioned, had, held + room), want, total) };
  }
  // What the host is about to lack must come back, even if there is still room.
  const total = held + (shortage > 0 ? Math.min(room, -shortage) : room);
  if (sum(need) <= total) return { state: 'ample', sizes: level(need, cushioned, total) };
  const critical = column(claims, ({ critical, kept }) => Math.max(critical, kept));
  if (sum(critical) <= total) return { state: 'contended', sizes: level(critical, need, total) };
  const least = Math.min(sum(critical), held + reliefRoom);
  const keeps = column(claims, ({ floor, holds }, i) => Math.min(critical[i] ?? 0, Math.max(floor, holds)));
  // If all that is missing is memory that a guest cannot give now, there is enough for all.
  const state = sum(column(claims, (claim) => claim.critical)) <= total ? 'contended' : 'overcommitted';
  return { state, sizes: level(keeps, critical, Math.max(total, least)) };
}

/** Input of the filling, one number per guest in each array. A guest's level is `base + λ · share`, kept between `lower` and `upper`. */
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
 * and returns the sizes. The sum grows with λ and is linear between the points where a vessel leaves its lower bound or reaches its upper
 * one. Bisection over the sorted points finds the two points between which the total lies: O(n log n), exact (Bertsekas and Gallager, Data
 * Networks, 6.5.2, with bounds).
 *
 * The result does not depend on the order of the vessels. If `total` is below the sum of the lower bounds, every vessel gets its lower
 * bound. If it is above the sum of the upper bounds, every vessel gets its upper bound. Requires lower ≤ upper and share > 0.
 */
export function fill({ base, lower, upper, share }: Vessels, total: number): Float64Array {
  // Most samples have enough for all, or nothing to distribute. Then no sorting is needed.
  if (sum(lower) >= total) return lower.slice();
  if (sum(upper) <= total) return upper.slice();
  const n = base.length;
  // The first n points are where the vessels leave their lower bound, the others where they reach their upper one.
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
  // At the first point all vessels are at their lower bounds, past the last one at their upper ones.
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
  // If rounding has merged two points, no vessel is filling between them.
  if (slope > 0) pour(level + missing / slope);
  return sizes;
}

/** One number for each of `items`. */
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
