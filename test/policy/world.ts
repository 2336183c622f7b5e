/** A hand-held host for the policy's tests: what a sample shows is set by hand, moves land when the test says so. */

import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import type { DomainFacts } from '../../lib/hypervisor.js';
import { ordered } from '../../lib/policy/decide.js';
import { EMPTY_MODEL, type Model } from '../../lib/policy/guest.js';
import { type Plan, plan } from '../../lib/policy/plan.js';
import type { GuestContext, GuestOverrides, Move, PolicyConfig, PolicyNotice, Remembered, Sample } from '../../lib/policy/types.js';
import * as sweep from '../../lib/sweep.js';

export const CONFIG: PolicyConfig = defaultConfig();

const KERNEL = 69 * MiB;
/** What a guest's process usually takes beside the guest's memory. */
export const OVERHEAD = 48 * MiB;

/** All KiB. Change what you like between two samples. */
export interface WorldGuest {
  name: string;
  maximum: number;
  actual: number;
  used: number;
  /** Memory that it was given, has not touched, and does not count as free. */
  hidden: number;
  target: number;
  id: number;
  state: number;
  job: number;
  /** Time that its virtual CPUs have run, ms; NaN = the host does not report it. */
  cpu: number;
  /** What it has read from its disks, KiB; NaN = not asked for, or the hypervisor does not report it. */
  diskReads: number;
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
  /** Memory of the guest that its process has touched and the balloon has not taken: at least what it uses, at most what it may hold. */
  touched: number;
  /** What its process takes beside that. */
  overhead: number;
  /** `fixed`: MemTotal stays at the maximum whatever the balloon does; `nousable`: no MemAvailable. */
  figures: 'linux' | 'fixed' | 'nousable';
  backing: DomainFacts['backing'];
  autodeflate: boolean;
  deviceMemory: number;
  virtioMem: number;
  hardLimit: number | null;
  /** False: left out by --include, --exclude. */
  included: boolean;
}

/** What a coordinator before us knew of a guest with which nothing was wrong. */
export const NOTHING_WRONG: Remembered = {
  original: 512 * MiB,
  target: 512 * MiB,
  orderedAt: 0,
  speed: 400 * MiB,
  reachable: 0,
  shrinkAfter: 0,
  pause: 15_000,
  thrashed: false,
  cache: { working: 0, floor: 0, probeAfter: 0, pause: 60_000, rereads: 0, rereadMs: 0 },
};

export function guest(name: string, settings: Partial<WorldGuest> = {}): WorldGuest {
  const maximum = settings.maximum ?? 2 * GiB;
  // A balloon that no driver has ever held is empty.
  const actual = settings.actual ?? (settings.driver === false ? maximum : 512 * MiB);
  return {
    name,
    maximum,
    actual,
    used: 150 * MiB,
    hidden: 0,
    target: actual,
    id: 1,
    state: 1,
    job: Number.NaN,
    cpu: Number.NaN,
    diskReads: Number.NaN,
    refreshed: Number.NaN,
    answers: true,
    driver: true,
    swapIn: 0,
    majorFault: 0,
    overrides: {},
    obstacles: [],
    touched: 0,
    overhead: OVERHEAD,
    figures: 'linux',
    backing: 'anonymous',
    autodeflate: false,
    deviceMemory: 0,
    virtioMem: 0,
    hardLimit: null,
    included: true,
    ...settings,
  };
}

/** The figures of the guest's own, in this order. */
const SHOWN = [sweep.UNUSED, sweep.AVAILABLE, sweep.USABLE, sweep.LAST_UPDATE, sweep.SWAP_IN, sweep.MAJOR_FAULT] as const;

export class World {
  guests: WorldGuest[];
  config: PolicyConfig;
  model: Model = EMPTY_MODEL;
  at = 1_000_000;
  total = 64 * GiB;
  /** MemAvailable; by default all that the guests' processes, the ARC and the huge page pools leave. */
  available: number | null = null;
  arc = 0;
  arcMinimum = 0;
  hugePages = 0;
  cgroupRoom: number | null = null;
  pressure = false;
  rebooted = new Set<string>();
  /** Guests that were started since the last sample. */
  started = new Set<string>();
  /** Guests whose figures the next samples refresh. */
  refreshed = new Set<string>();
  /** Guests that the next samples do not read. */
  unread = new Set<string>();
  /** What a coordinator before us knew, by name. */
  remembered = new Map<string, Remembered>();
  notices: PolicyNotice[] = [];
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
    const contexts = new Map<string, GuestContext>(this.guests.map((each) => [each.name, this.#context(each)]));
    const sample: Sample = {
      at: this.at,
      refreshed: this.refreshed,
      rebooted: this.rebooted,
      started: this.started,
      contexts,
      sweep: { guests: this.guests.map(({ name, id }) => ({ uuid: name, name, id })), figures },
      host: {
        total: this.total,
        available: this.available ?? Math.max(0, this.total - this.hugePages - this.arc - this.arcMinimum - this.#heldAlone()),
        arc: this.arc,
        arcMinimum: this.arcMinimum,
        hugePages: this.hugePages,
        cgroupRoom: this.cgroupRoom,
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

  /** Resident memory of the guest's process, KiB: pages of a huge page pool are not in it. */
  rss(name: string): number {
    const each = this.find(name);
    // VFIO holds every page of its guest.
    const held = each.obstacles.some((obstacle) => obstacle.startsWith('vfio')) ? each.maximum : each.touched;
    return (each.backing === 'hugepages' ? 0 : held) + each.overhead;
  }

  /** What the guests' processes hold and the host does not count as available; pages of a file it does. */
  #heldAlone(): number {
    return this.guests.reduce((sum, { name, backing, overhead }) => sum + (backing === 'file' ? overhead : this.rss(name)), 0);
  }

  #context(each: WorldGuest): GuestContext {
    const { maximum, deviceMemory, virtioMem, backing, hardLimit, autodeflate, obstacles, overrides, included } = each;
    const facts: DomainFacts = {
      maximum,
      deviceMemory,
      composed: deviceMemory > 0,
      virtioMem,
      backing,
      hardLimit,
      autodeflate,
      obstacles,
      current: each.actual,
      balloonModel: 'virtio',
      statsPeriod: 1,
      metadata: null,
    };
    const remembered = this.remembered.get(each.name);
    return { facts, overrides, included, statsPeriod: 1, ...(remembered === undefined ? {} : { remembered }) };
  }

  #row(each: WorldGuest): number[] {
    // What the balloon takes is touched no more.
    const holds = each.driver ? each.actual + each.virtioMem : each.maximum;
    each.touched = Math.min(holds, Math.max(each.touched, each.used, 0));
    const row = new Array<number>(sweep.STRIDE).fill(Number.NaN);
    row[sweep.CPU_TIME] = each.cpu;
    row[sweep.REFRESHED] = each.refreshed;
    row[sweep.STATUS] = this.unread.has(each.name) ? sweep.NOT_ASKED : sweep.READ;
    if (this.unread.has(each.name)) return row;
    row[sweep.STATE] = each.state;
    row[sweep.JOB] = each.job;
    row[sweep.MAXIMUM] = each.maximum + each.deviceMemory;
    row[sweep.ACTUAL] = each.actual;
    row[sweep.RSS] = this.rss(each.name);
    if (each.backing === 'file') row[sweep.RSS_FILE] = each.touched;
    row[sweep.READS] = each.diskReads;
    row[sweep.READ_AT] = this.at;
    row[sweep.LAST_UPDATE] = 0;
    if (!each.driver) return row;
    const old = this.#shown.get(each.name);
    const spare = Math.max(0, each.actual - each.used - each.hidden);
    const total = (each.figures === 'fixed' ? each.maximum : each.actual) - KERNEL;
    const usable = each.figures === 'nousable' ? Number.NaN : spare;
    const fresh = [spare + KERNEL, total, usable, Math.floor(this.at / 1000), each.swapIn, each.majorFault];
    const shown = each.answers || old === undefined ? fresh : old;
    this.#shown.set(each.name, shown);
    SHOWN.forEach((field, i) => {
      row[field] = shown[i] ?? Number.NaN;
    });
    return row;
  }
}
