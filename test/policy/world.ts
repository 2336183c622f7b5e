/** A hand-held host for the policy's tests: what a sample shows is set by hand, moves land when the test says so. */

import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import type { DomainFacts } from '../../lib/hypervisor.js';
import { ordered } from '../../lib/policy/decide.js';
import { EMPTY_MODEL, type Model } from '../../lib/policy/guest.js';
import { type Plan, plan } from '../../lib/policy/plan.js';
import type { GuestContext, GuestOverrides, Move, Notice, PolicyConfig, Remembered, Sample } from '../../lib/policy/types.js';
import * as sweep from '../../lib/sweep.js';

export const CONFIG: PolicyConfig = defaultConfig();

/** All KiB. Change what you like between two samples. */
export interface WorldGuest {
  name: string;
  maximum: number;
  actual: number;
  used: number;
  target: number;
  id: number;
  state: number;
  /** Time that its virtual CPUs have run, ms; NaN = the host does not tell. */
  cpu: number;
  /** What came of refreshing it. */
  refreshed: number;
  /** False: the figures stand still. */
  answers: boolean;
  /** False: never answered. */
  driver: boolean;
  swapIn: number;
  majorFault: number;
  overrides: GuestOverrides;
  obstacles: string[];
}

export function guest(name: string, settings: Partial<WorldGuest> = {}): WorldGuest {
  const actual = settings.actual ?? 512 * MiB;
  return {
    name,
    maximum: 2 * GiB,
    actual,
    used: 150 * MiB,
    target: actual,
    id: 1,
    state: 1,
    cpu: Number.NaN,
    refreshed: Number.NaN,
    answers: true,
    driver: true,
    swapIn: 0,
    majorFault: 0,
    overrides: {},
    obstacles: [],
    ...settings,
  };
}

const PLAIN = { deviceMemory: 0, virtioMem: 0, backing: 'anonymous', hardLimit: null } as const;
const KERNEL = 69 * MiB;

export class World {
  guests: WorldGuest[];
  config: PolicyConfig;
  model: Model = EMPTY_MODEL;
  at = 1_000_000;
  total = 64 * GiB;
  /** Memory of the host that is available beside the guests' own; by default all that they leave. */
  available: number | null = null;
  pressure = false;
  rebooted = new Set<string>();
  started = new Set<string>();
  /** Guests whose figures the next samples refresh. */
  refreshed = new Set<string>();
  /** Guests that the next samples do not read. */
  unread = new Set<string>();
  /** What a coordinator before us knew, by name. */
  remembered = new Map<string, Remembered>();
  notices: Notice[] = [];
  #shown = new Map<string, number[]>();

  constructor(guests: WorldGuest[], config: Partial<PolicyConfig> = {}) {
    this.guests = guests;
    this.config = { ...CONFIG, ...config };
  }

  /** Lets `ms` pass and samples. */
  see(ms = 1000): Sample {
    this.at += ms;
    const figures = new Float64Array(this.guests.length * sweep.STRIDE).fill(Number.NaN);
    for (const [row, each] of this.guests.entries()) figures.set(this.#row(each), row * sweep.STRIDE);
    const held = this.guests.reduce((sum, each) => sum + each.actual, 0);
    const contexts = new Map<string, GuestContext>(
      this.guests.map(({ name, maximum, actual, overrides, obstacles }) => {
        const facts: DomainFacts = {
          ...PLAIN,
          maximum,
          current: actual,
          balloonModel: 'virtio',
          autodeflate: false,
          statsPeriod: 1,
          obstacles,
          metadata: null,
        };
        const remembered = this.remembered.get(name);
        return [name, { facts, overrides, included: true, statsPeriod: 1, ...(remembered === undefined ? {} : { remembered }) }];
      }),
    );
    const sample: Sample = {
      at: this.at,
      refreshed: this.refreshed,
      rebooted: this.rebooted,
      started: this.started,
      contexts,
      sweep: { guests: this.guests.map(({ name, id }) => ({ uuid: name, name, id })), figures },
      host: {
        total: this.total,
        arc: 0,
        arcMinimum: 0,
        hugePages: 0,
        cgroupRoom: null,
        available: this.available ?? Math.max(0, this.total - held),
        pressure: this.pressure,
      },
    };
    this.rebooted = new Set();
    this.started = new Set();
    return sample;
  }

  /** Lets `ms` pass, samples, plans. Nothing is moved: see `obey`. */
  sample(ms = 1000): Plan {
    const made = plan(this.model, this.see(ms), this.config);
    this.model = made.model;
    this.notices.push(...made.notices);
    return made;
  }

  /** libvirt stores the targets; the balloons follow where `arrive`. */
  obey(moves: readonly Move[], { arrive = true } = {}): void {
    this.model = ordered(
      this.model,
      moves.map((move) => ({ move, outcome: 'stored' })),
      this.at,
    );
    for (const move of moves) {
      const found = this.find(move.name);
      found.target = move.to;
      if (arrive) found.actual = move.to;
    }
  }

  /** Samples and obeys, `rounds` times. */
  run(rounds: number, { arrive = true, ms = 1000 } = {}): Move[] {
    const moves: Move[] = [];
    for (let round = 0; round < rounds; round++) {
      const made = this.sample(ms).moves;
      this.obey(made, { arrive });
      moves.push(...made);
    }
    return moves;
  }

  find(name: string): WorldGuest {
    const found = this.guests.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no guest is named ${name}`);
    return found;
  }

  #row(each: WorldGuest): number[] {
    const row = new Array<number>(sweep.STRIDE).fill(Number.NaN);
    row[sweep.CPU_TIME] = each.cpu;
    row[sweep.REFRESHED] = each.refreshed;
    row[sweep.STATUS] = this.unread.has(each.name) ? sweep.NOT_ASKED : sweep.READ;
    if (this.unread.has(each.name)) return row;
    row[sweep.STATE] = each.state;
    row[sweep.MAXIMUM] = each.maximum;
    row[sweep.ACTUAL] = each.actual;
    row[sweep.READ_AT] = this.at;
    row[sweep.LAST_UPDATE] = 0;
    if (!each.driver) return row;
    const old = this.#shown.get(each.name);
    const spare = Math.max(0, each.actual - each.used);
    const fresh = [spare + KERNEL, each.actual - KERNEL, spare, Math.floor(this.at / 1000), each.swapIn, each.majorFault];
    const [unused = 0, available = 0, usable = 0, lastUpdate = 0, swapIn = 0, majorFault = 0] =
      each.answers || old === undefined ? fresh : old;
    this.#shown.set(each.name, [unused, available, usable, lastUpdate, swapIn, majorFault]);
    row[sweep.UNUSED] = unused;
    row[sweep.AVAILABLE] = available;
    row[sweep.USABLE] = usable;
    row[sweep.LAST_UPDATE] = lastUpdate;
    row[sweep.SWAP_IN] = swapIn;
    row[sweep.MAJOR_FAULT] = majorFault;
    return row;
  }
}
