/**
 * The counterfactual: the same scenario, by the same clock, with nobody managing the host. Guests keep the sizes that they have at the
 * start, or that events set. A guest that dies here could not have been saved by leaving it alone.
 */
import type { Config } from '../config/config.js';
import { stage } from './faults.js';
import type { SimGuest } from './guest.js';
import type { SimHost } from './host.js';
import type { Scenario } from './scenario.js';
import { poolOf, type SimSettings, settingsReader } from './settings.js';

/** What became of a guest. KiB. */
export interface GuestFate {
  readonly actual: number;
  readonly used: number;
  readonly leastSpare: number;
  /** How often the guest ran out of memory, or QEMU was killed. */
  readonly kills: number;
  readonly swapIn: number;
  readonly majorFaults: number;
  /** How much the guest has read from its disks. */
  readonly diskReads: number;
}

/** What became of a host. KiB. */
export interface HostFate {
  readonly leastAvailable: number;
  /** Number of guests whose QEMU was killed because the host, or the guests' cgroup, was out of memory. */
  readonly kills: number;
  /** How much less than their maxima the guests that may be managed had, over time, GiB·h. */
  readonly reclaimedGiBh: number;
}

/** What a guest had suffered by the beginning of a second. */
interface Suffered {
  readonly swapIn: number;
  readonly majorFaults: number;
  readonly diskReads: number;
}

export interface Unmanaged {
  readonly host: HostFate;
  readonly guests: ReadonlyMap<string, GuestFate>;
  /** Whether the guests always fitted into the pool. A smaller pool is an order to take memory from them. */
  readonly withinPool: boolean;
  /** What a guest had suffered by a time, ms. */
  sufferedAt(name: string, at: number): Suffered;
}

/** Time between two entries in the account, ms. */
const ENTRY_MS = 100;
const GIB_HOUR = 1024 * 1024 * 3_600_000;
const NOTHING: Suffered = { swapIn: 0, majorFaults: 0, diskReads: 0 };

export function fateOf(guest: SimGuest): GuestFate {
  const { actual, used, leastSpare, kills, swapIn, majorFault, diskReads } = guest;
  return { actual, used, leastSpare, kills, swapIn, majorFaults: Math.floor(majorFault), diskReads: Math.floor(diskReads) };
}

/** Keeps a host's account while it is simulated: call `step` at every step. */
export class HostAccount {
  readonly #host: SimHost;
  readonly #settings: (guest: SimGuest) => SimSettings;
  readonly #pool: number;
  #leastAvailable: number;
  #reclaimed = 0;
  #at = 0;
  withinPool = true;

  constructor(host: SimHost, config: Config) {
    const settings = settingsReader(config);
    this.#host = host;
    this.#settings = ({ spec }) => settings(spec);
    this.#pool = poolOf(config, host.total);
    this.#leastAvailable = host.available;
  }

  step(): void {
    const { now, available, guests } = this.#host;
    this.#leastAvailable = Math.min(this.#leastAvailable, available);
    const elapsed = now - this.#at;
    if (elapsed < ENTRY_MS) return;
    this.#at = now;
    for (const guest of guests)
      if (this.#settings(guest).managed) this.#reclaimed += Math.max(0, guest.spec.maximum + guest.plugged - guest.size) * elapsed;
    this.withinPool &&= balloonsOf(this.#host, this.#settings) <= this.#pool;
  }

  get fate(): HostFate {
    return { leastAvailable: this.#leastAvailable, kills: this.#host.kills, reclaimedGiBh: this.#reclaimed / GIB_HOUR };
  }
}

/** What counts against the pool: the charges of guests that are controlled, and the resident memory of the others. */
export function balloonsOf(host: SimHost, settings: (guest: SimGuest) => SimSettings): number {
  let sum = 0;
  for (const guest of host.guests) sum += isControlled(guest, settings(guest)) ? guest.charge : guest.rss;
  return sum;
}

/** True: the guest may be moved, and its balloon frees memory. */
export function isControlled({ spec, unballooned, pinned }: SimGuest, { managed }: SimSettings): boolean {
  return managed && !unballooned && !pinned && spec.backing !== 'hugetlb' && spec.virtioMem === undefined && spec.figures !== 'none';
}

/** Runs a scenario with nobody managing the host. */
export async function runUnmanaged(scenario: Scenario): Promise<Unmanaged> {
  const host = stage(scenario, () => {});
  const account = new HostAccount(host, scenario.config);
  const series = new Map<string, Suffered[]>();
  let second = -1;
  host.onStep = () => {
    account.step();
    const now = Math.floor(host.now / 1000);
    if (now === second) return;
    second = now;
    for (const { spec, swapIn, majorFault, diskReads } of host.guests) {
      if (spec.swap === undefined && spec.hot === undefined) continue;
      const suffered = series.get(spec.name) ?? [];
      series.set(spec.name, suffered);
      suffered[now] = { swapIn, majorFaults: majorFault, diskReads };
    }
  };
  await host.pass(scenario.duration);
  return {
    host: account.fate,
    guests: new Map(host.everyone.map((guest) => [guest.spec.name, fateOf(guest)])),
    withinPool: account.withinPool,
    // This is the state at the beginning of the second. What the unmanaged guest suffered later in that second is not counted.
    // Times after the end, while the coordinator stops, are compared with the end.
    sufferedAt: (name, at) => {
      const suffered = series.get(name);
      return suffered?.[Math.min(Math.floor(at / 1000), suffered.length - 1)] ?? NOTHING;
    },
  };
}
