/** A hypervisor without a host: figures out of a formula, moves that arrive at once. What a cycle over it takes is JavaScript's own share. */
import { type DomainFacts, type GuestIdentity, type HostMemory, type Hypervisor, MiB, type Sweep } from 'memcoord';
import * as field from '../lib/sweep.js';
import type { Clock } from './rush.js';

const [MAXIMUM, CURRENT, KERNEL] = [2048 * MiB, 512 * MiB, 68 * MiB];

/**
 * Guests of 512 of 2048 MiB. Each uses its own 80 to 280 MiB; one in ten swings by 128 MiB within 20 s and is moved for it, the others by
 * less than anything is moved for.
 */
export class CannedHost {
  readonly #clock: Clock;
  readonly guests: readonly GuestIdentity[];
  readonly #figures: Float64Array;
  /** Time spent in here instead of in the coordinator, ms. */
  spent = 0;

  constructor(count: number, clock: Clock) {
    this.#clock = clock;
    this.guests = Array.from({ length: count }, (_, i) => ({
      uuid: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
      name: `guest${i}`,
      id: i + 1,
    }));
    this.#figures = new Float64Array(count * field.STRIDE).fill(0);
    for (let row = 0; row < this.#figures.length; row += field.STRIDE) {
      this.#figures[row + field.STATE] = 1;
      this.#figures[row + field.MAXIMUM] = MAXIMUM;
      this.#figures[row + field.ACTUAL] = CURRENT;
      this.#figures[row + field.RSS] = CURRENT;
      this.#figures[row + field.READS] = Number.NaN;
      this.#figures[row + field.JOB] = Number.NaN;
    }
  }

  /** A new array, as from the addon. */
  sweep(): Sweep {
    const startedAt = performance.now();
    const { now } = this.#clock;
    const figures = this.#figures;
    for (let guest = 0, row = 0; row < figures.length; guest++, row += field.STRIDE) {
      const swing = guest % 10 === 0 ? 64 : 2;
      const used = (80 + (guest % 200) + swing * (1 + Math.sin(now / 3000 + guest))) * MiB;
      const actual = figures[row + field.ACTUAL] ?? 0;
      const usable = Math.max(0, actual - KERNEL - used);
      figures[row + field.AVAILABLE] = actual - KERNEL;
      figures[row + field.UNUSED] = usable;
      figures[row + field.USABLE] = usable;
      figures[row + field.LAST_UPDATE] = Math.floor(now / 1000);
      figures[row + field.READ_AT] = now;
    }
    const sweep = { guests: this.guests, figures: figures.slice() };
    this.spent += performance.now() - startedAt;
    return sweep;
  }

  hypervisor(): Hypervisor {
    const rows = new Map(this.guests.map(({ uuid }, i) => [uuid, i * field.STRIDE]));
    const facts: DomainFacts = {
      maximum: MAXIMUM,
      deviceMemory: 0,
      composed: false,
      virtioMem: 0,
      backing: 'anonymous',
      hardLimit: null,
      current: CURRENT,
      balloonModel: 'virtio',
      autodeflate: false,
      statsPeriod: 1,
      obstacles: [],
      metadata: null,
    };
    // Room for all: what is planned is what the guests' needs ask for.
    const host: HostMemory = {
      total: this.guests.length * MAXIMUM,
      available: this.guests.length * (MAXIMUM - CURRENT),
      arc: 0,
      arcMinimum: 0,
      hugePages: 0,
      cgroupRoom: null,
      pressure: false,
    };
    return {
      uri: 'canned:///',
      sample: async () => this.sweep(),
      cpuTimes: (guests) => new Float64Array(guests.length),
      vcpuCount: (guests) => guests.length,
      setMemory: async (moves) => {
        for (const { uuid, kib } of moves) this.#figures[(rows.get(uuid) ?? Number.NaN) + field.ACTUAL] = kib;
        return moves.map(() => null);
      },
      setStatsPeriod: async () => undefined,
      describe: async () => facts,
      onEvent: () => () => undefined,
      hostMemory: async () => host,
      hostId: async () => null,
      isAlive: () => true,
      close: async () => undefined,
    };
  }
}
