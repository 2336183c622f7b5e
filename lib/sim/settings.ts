/** What the configuration sets for simulated guests. It is read from the configuration alone, whatever the policy makes of it. KiB. */
import { amountOf } from '../common/units.js';
import { type Config, guestOverrides, isIncluded } from '../config/config.js';
import { DEFAULT_RESERVE, FLOOR_FRACTION, LEAST_FLOOR, LEAST_RESERVE, RESERVE_FRACTION } from '../policy/limits.js';
import type { Signal } from '../policy/types.js';
import type { GuestSpec, SimGuest } from './guest.js';

export interface SimSettings {
  /** The floor that is configured, or else the default. */
  readonly floor: number;
  /** True: the floor is configured. A default floor is no more than the least that the guest had (see floorOf). */
  readonly floorSet: boolean;
  readonly ceiling: number;
  readonly signal: Signal;
  /** False: the coordinator must leave the guest alone. */
  readonly managed: boolean;
}

/** Reads each guest's settings once, so that globs are not matched at every step. */
export function settingsReader(config: Config): (spec: GuestSpec) => SimSettings {
  const read = new Map<string, SimSettings>();
  return (spec) => {
    const known = read.get(spec.name);
    if (known !== undefined) return known;
    const settings = settingsOf(config, spec);
    read.set(spec.name, settings);
    return settings;
  };
}

function settingsOf(config: Config, { name, maximum }: GuestSpec): SimSettings {
  const { min, max = maximum, signal = config.signal, manage = true } = guestOverrides(config, name);
  const ceiling = Math.min(amountOf(max, maximum), maximum);
  const floor = Math.min(min === undefined ? Math.max(LEAST_FLOOR, maximum * FLOOR_FRACTION) : amountOf(min, maximum), ceiling);
  return { floor, floorSet: min !== undefined, ceiling, signal, managed: manage && isIncluded(config, name) };
}

/** The size below which a guest must not be shrunk. */
export function floorOf({ floor, floorSet }: SimSettings, { leastHad }: SimGuest): number {
  return floorSet ? floor : Math.min(floor, leastHad);
}

/** @param total the host's memory @param hugePages the part of it that no guest's balloon can use */
export function reserveOf(config: Config, total: number, hugePages: number): number {
  const written = config.reserve === null ? null : amountOf(config.reserve, total);
  return Math.max(LEAST_RESERVE, written ?? Math.max((total - hugePages) * RESERVE_FRACTION, DEFAULT_RESERVE));
}

/** The pool; Infinity if none is configured. */
export function poolOf(config: Config, total: number): number {
  return config.pool === null ? Number.POSITIVE_INFINITY : amountOf(config.pool, total);
}
