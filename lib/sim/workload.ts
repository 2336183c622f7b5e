/** What a simulated guest's programs hold, as a function of its clock. KiB, ms, KiB/s. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Memory held at a time on the guest's clock, ms. */
export type Workload = (at: number) => number;

/** From `at` on, programs take or free memory at `rate` until they hold `size`. */
export interface Waypoint {
  readonly at: number;
  readonly size: number;
  /** Infinity = at once. */
  readonly rate: number;
}

/** Goes from waypoint to waypoint, which must be sorted by time. After each `repeat` ms it starts again, from 0. */
export function through(waypoints: readonly Waypoint[], repeat = Number.POSITIVE_INFINITY): Workload {
  if (waypoints.length === 0) return () => 0;
  return (at) => {
    const now = Number.isFinite(repeat) ? at % repeat : at;
    let held = 0;
    for (const [i, { at: from, size, rate }] of waypoints.entries()) {
      if (now < from) break;
      const reach = (rate * (Math.min(now, waypoints[i + 1]?.at ?? Number.POSITIVE_INFINITY) - from)) / 1000;
      // An infinite rate times no time is NaN: the size is reached at once.
      held += Math.sign(size - held) * Math.min(Math.abs(size - held), Number.isNaN(reach) ? Number.POSITIVE_INFINITY : reach);
    }
    return held;
  };
}

/** When the last waypoint is reached, at the latest. */
export function settledAt(waypoints: readonly Waypoint[]): number {
  const largest = Math.max(0, ...waypoints.map(({ size }) => size));
  const last = waypoints.at(-1);
  return last === undefined ? 0 : last.at + (1000 * largest) / last.rate;
}

/** Noise: another value from 0 to `most` each second. The same seed gives the same values. */
export function noise(most: number, seed: number): Workload {
  if (most === 0) return () => 0;
  const values: number[] = [];
  const random = xoroshiro128plus(seed);
  return (at) => {
    const second = Math.floor(at / 1000);
    while (values.length <= second) values.push(uniformInt(random, 0, most));
    return values[second] ?? 0;
  };
}
