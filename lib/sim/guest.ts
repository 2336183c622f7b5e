/** A simulated guest: memory in use follows a program, the balloon moves at finite speed, figures lag. KiB, ms, KiB/s. */
import { MiB } from '../units.js';

export interface GuestSpec {
  readonly name: string;
  readonly maximum: number;
  /** Balloon size and target at the start; `maximum` by default. */
  readonly current?: number;
  /** Memory in use at a time, its kernel's share included. */
  readonly uses: (at: number) => number;
  /** MemTotal is the balloon's size less this; 69 MiB for a guest of 2 GiB [M]. */
  readonly kernel?: number;
  /** Speed of the balloon; 500 MiB/s by default [M: 400 to 600]. */
  readonly speed?: number;
  /** Its balloon cannot push it below this size, however often it tries. */
  readonly limit?: number;
  /** Part of the time that its virtual CPU runs beside what taking memory into use costs it; 0.3 % by default [M: an idle guest]. */
  readonly load?: number;
  readonly autodeflate?: boolean;
  /** False: no balloon driver answers. */
  readonly driver?: boolean;
}

/** MemAvailable is this much under MemFree: the watermarks [M: 100 MiB unused are some 31 MiB usable]. */
const WATERMARK = 69 * MiB;

/** Memory that a CPU takes into use, KiB a ms: 2 GiB/s. */
const CLEARING_SPEED = (2 * 1024 * MiB) / 1000;

/** What the guest last answered. */
export interface Figures {
  readonly unused: number;
  readonly usable: number;
  readonly available: number;
  /** Host's wall clock, whole seconds. */
  readonly lastUpdate: number;
}

export class SimGuest {
  readonly spec: GuestSpec;
  readonly uuid: string;
  id: number;
  actual: number;
  target: number;
  /** Seconds; 0 = off. */
  period = 0;
  paused = false;
  /** True: the balloon driver answers nothing and moves nothing. */
  frozen = false;
  figures: Figures | null = null;
  /** Times that the guest ran out of memory; what its program uses over its size is killed and does not come back. */
  kills = 0;
  /** Lowest spare seen, KiB. */
  leastSpare = Number.POSITIVE_INFINITY;
  /** Time that its virtual CPU has run, ms. */
  cpu = 0;
  swapIn = 0;
  majorFault = 0;
  #killed = 0;
  #used = 0;
  #at: number;
  #nextFigures = Number.POSITIVE_INFINITY;

  constructor(spec: GuestSpec, uuid: string, id: number, at: number) {
    this.spec = spec;
    this.uuid = uuid;
    this.id = id;
    this.actual = spec.current ?? spec.maximum;
    this.target = this.actual;
    this.#at = at;
  }

  get used(): number {
    return Math.max(0, this.spec.uses(this.#at) - this.#killed);
  }

  /** Resident memory: what it has touched, never more than its balloon leaves it, and the process itself. */
  get rss(): number {
    return Math.min(this.actual, this.used) + 60 * MiB;
  }

  setPeriod(seconds: number): void {
    if (seconds > 0 && this.period === 0) this.#nextFigures = this.#at;
    this.period = seconds;
  }

  /** Lives until `at`. */
  live(at: number): void {
    const elapsed = at - this.#at;
    this.#at = at;
    if (this.paused) return;
    this.cpu += elapsed * (this.spec.load ?? 0.003) + Math.max(0, this.used - this.#used) / CLEARING_SPEED;
    this.#used = this.used;
    if (this.spec.driver !== false && !this.frozen) this.#moveBalloon(elapsed);
    const spare = this.actual - this.used;
    this.leastSpare = Math.min(this.leastSpare, spare);
    if (spare < 0) {
      this.kills++;
      this.#killed += this.used / 2;
    }
    if (this.spec.driver === false || this.frozen || this.period === 0 || at < this.#nextFigures) return;
    this.answer();
    this.#nextFigures = at + this.period * 1000;
  }

  /** Takes new figures now. */
  answer(): void {
    const free = Math.max(0, this.actual - this.used);
    this.figures = {
      unused: free + WATERMARK,
      usable: free,
      available: (this.spec.autodeflate === true ? this.spec.maximum : this.actual) - (this.spec.kernel ?? 69 * MiB),
      lastUpdate: 1_700_000_000 + Math.floor(this.#at / 1000),
    };
  }

  #moveBalloon(elapsed: number): void {
    const reach = ((this.spec.speed ?? 500 * MiB) * elapsed) / 1000;
    const goal = Math.max(this.target, Math.min(this.actual, this.spec.limit ?? 0));
    const gap = goal - this.actual;
    this.actual += Math.sign(gap) * Math.min(Math.abs(gap), reach);
  }
}
