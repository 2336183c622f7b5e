/** A simulated guest: programs that take memory, a balloon of finite speed, figures that lag. KiB, ms, KiB/s. */
import { MiB } from '../common/units.js';
import type { Figures, FiguresKind } from './figures.js';
import type { Workload } from './workload.js';

/** Definition of a simulated guest. Sizes KiB, times ms, rates KiB/s. */
export interface GuestSpec {
  readonly name: string;
  readonly maximum: number;
  /** Balloon size and target at the start; `maximum` by default. */
  readonly current?: number;
  /** Memory in use, including the kernel's own. What exceeds `base` belongs to a program that the OOM killer can kill. */
  readonly uses: Workload;
  /** Memory still in use after that program is killed; by default half of what was used. */
  readonly base?: number;
  /** Files in tmpfs: only their owner can free them, and the balloon cannot take them. */
  readonly tmpfs?: Workload;
  /** Page cache that the guest fills while it has free memory. It counts as spare. */
  readonly cache?: Workload;
  /** Page cache that the guest's workload reads again and again. What is not in memory is read from disk. */
  readonly hot?: number;
  /** When that workload begins, on the guest's clock; at once by default. */
  readonly hotFrom?: number;
  /** True: the workload reads that cache through mappings, so missing pages cause major faults too. */
  readonly mapped?: boolean;
  /** Rate at which the guest reads from disk what it never reads again and does not keep in memory. */
  readonly streams?: number;
  /** Size of the guest's swap space. */
  readonly swap?: number;
  /** MemTotal is the balloon's size less this; 69 MiB by default [M: a guest of 2 GiB]. */
  readonly kernel?: number;
  /** Speed at which the balloon inflates; 500 MiB/s by default [M: 400 to 600]. It deflates twice as fast [M: above 1 GiB/s]. */
  readonly speed?: number;
  /** The balloon cannot shrink the guest below this size, however often it tries. */
  readonly limit?: number;
  /** Fraction of the time that the virtual CPU runs, besides the cost of taking memory into use; 0.3 % by default [M: an idle guest]. */
  readonly load?: number;
  readonly autodeflate?: boolean;
  /** False: no balloon driver answers. */
  readonly driver?: boolean;
  /** What the guest reports about itself, if that is not the whole truth. */
  readonly figures?: FiguresKind;
  /**
   * What backs the guest's memory if it is not anonymous: the host's huge page pool (its pages are in neither RSS nor available memory),
   * or a file (its pages are in both).
   */
  readonly backing?: 'hugetlb' | 'file';
  /** Size of an NVDIMM. libvirt's maximum includes it, the balloon's size does not. */
  readonly nvdimm?: number;
  /** Size of a virtio-mem device. libvirt's maximum includes it. Half of it is plugged: the guest has that half on top of its balloon. */
  readonly virtioMem?: number;
  /** Resident memory at which QEMU is killed. */
  readonly hardLimit?: number;
  /** The balloon does not grow the guest above this size, and nothing reports that. */
  readonly most?: number;
}

/** The watermarks make MemAvailable this much less than MemFree [M: 100 MiB unused are some 31 MiB usable]. */
const WATERMARK = 69 * MiB;
/**
 * Memory that Linux was given and keeps in its per-CPU lists, up to its low watermark. No figure includes it, and Linux uses it first
 * [M: 50 MiB of a guest of 2 GiB with one CPU]. In a small guest, the low watermark is a sixteenth of the guest's maximum.
 */
const UNCOUNTED = 50 * MiB;
const UNCOUNTED_FRACTION = 1 / 16;
/** Rate at which a CPU takes memory into use, KiB per ms: 2 GiB/s. */
const CLEARING_SPEED = (2 * 1024 * MiB) / 1000;
/** Memory of QEMU itself: the figure that the policy assumes if it cannot measure it. */
export const OVERHEAD = 48 * MiB;
/** Rate of swapping. */
const SWAP_RATE = 100 * MiB;
/** Major faults a second of a workload with mapped hot page cache, if none of it is in memory. */
const MOST_FAULTS = 2000;
/** Rates at which a workload reads its hot page cache: from memory, and from disk [M: 1,000 MiB in 1.7 s, and at 80 MiB/s]. */
const CACHED_RATE = 600 * MiB;
export const DISK_RATE = 80 * MiB;
/** Fraction of the time that the virtual CPU runs for such a workload. Chosen. */
const READING_LOAD = 0.2;
/** From a reboot until the balloon driver is loaded. Until then the guest holds its maximum, and libvirt shows the old figures [M]. */
const REBOOT_MS = 4500;
/** Default speed at which a balloon inflates [M: 400 to 600 MiB/s]. */
export const BALLOON_SPEED = 500 * MiB;
/** From the start of a guest until its balloon driver is loaded. */
export const BOOT_MS = 5000;

/** What killed a guest, or one of its programs: the guest's own kernel, a host that is out of memory, or the guest's hard limit. */
export type Killer = 'guest' | 'host' | 'limit';

export class SimGuest {
  readonly spec: GuestSpec;
  readonly uuid: string;
  id: number;
  actual: number;
  target: number;
  /** Seconds; 0 = off. */
  period = 0;
  /** By how much the host's wall clock was set, ms. */
  clockSet = 0;
  paused = false;
  /** True: the guest is in distress. Its driver reports no figures and does not move the balloon. */
  frozen = false;
  /** True: the balloon does not move, although the guest reports figures. */
  stuck = false;
  /** True: QEMU is stopped and answers no call. */
  hung = false;
  /** True: the guest is being migrated, and libvirt stores no target and no stats period. */
  migrating = false;
  /** True: libvirt has reported the first pass over its memory. */
  migrationKnown = false;
  /** True: a device pins all of the guest's memory. */
  pinned = false;
  /** True: the guest has been rebooted, and may have come back without a balloon driver. */
  rebooted = false;
  /** True: the balloon driver was unloaded, and the guest has its maximum. */
  unloaded = false;
  figures: Figures | null = null;
  /** The answer before `figures`. */
  earlier: Figures | null = null;
  /** How often the guest ran out of memory and lost its program, or QEMU was killed. */
  kills = 0;
  onKill: () => void = () => {};
  /** When the balloon last deflated by itself (autodeflate), ms on the host's clock. */
  deflatedAt = Number.NEGATIVE_INFINITY;
  /** The smallest size that the guest's definition, or anybody but the coordinator, has set, KiB. */
  leastHad: number;
  /** Lowest spare memory so far, KiB. */
  leastSpare = Number.POSITIVE_INFINITY;
  /** How long the virtual CPU has run, ms. */
  cpu = 0;
  swapIn = 0;
  swapOut = 0;
  majorFault = 0;
  /** How much the guest has read from its disks, KiB. */
  diskReads = 0;
  /** How much of the hot page cache is in memory. */
  #warm = 0;
  #swapped = 0;
  #killed = 0;
  #overBefore = 0;
  #dead = false;
  #panicked = false;
  /** Files in tmpfs that a reboot has lost. */
  #lost = 0;
  /** What programs, tmpfs and page cache would hold now, on the guest's clock, if there were room. */
  #wanted = { uses: 0, tmpfs: 0, cache: 0 };
  #used = 0;
  /** Memory in use plus page cache. */
  #occupied = 0;
  #touched = 0;
  /** Memory that the guest was given, has not touched and does not count as free. */
  #uncounted = 0;
  /** The guest's own clock, which stops while the guest is paused or hangs. */
  #clock: number;
  #at: number;
  /** When the balloon driver is loaded, on the guest's clock. */
  #bootedAt: number;
  #nextFigures = Number.POSITIVE_INFINITY;
  /** True: the balloon has deflated by itself. It ignores its target until a new one is set. */
  #rests = false;

  constructor(spec: GuestSpec, uuid: string, id: number, at: number, bootMs = 0) {
    this.spec = spec;
    this.uuid = uuid;
    this.id = id;
    this.target = this.leastHad = spec.current ?? spec.maximum;
    this.actual = bootMs > 0 ? spec.maximum : this.target;
    this.#at = at;
    this.#clock = at;
    this.#bootedAt = at + bootMs;
    this.#want();
    this.#used = this.used;
    if (bootMs === 0) this.#warm = Math.min(this.#hot, Math.max(0, this.size - this.#used));
    this.#occupied = this.#used + this.#cached();
    // A guest that boots has touched no memory yet.
    this.#touched = bootMs > 0 ? 0 : this.#used;
  }

  get used(): number {
    return Math.max(0, this.#wanted.uses - this.#killed - this.#swapped) + this.#files;
  }

  /** Memory that is swapped out now. */
  get swapped(): number {
    return this.#swapped;
  }

  /** How fast the balloon inflates, KiB/s. It deflates twice as fast. */
  get speed(): number {
    return this.spec.speed ?? BALLOON_SPEED;
  }

  /** Memory that virtio-mem adds to the balloon's size. */
  get plugged(): number {
    return (this.spec.virtioMem ?? 0) / 2;
  }

  /** Memory that libvirt's maximum includes and the balloon's size does not. */
  get deviceMemory(): number {
    return (this.spec.nvdimm ?? 0) + (this.spec.virtioMem ?? 0);
  }

  /** True while no driver controls the balloon, so the guest may hold its maximum. */
  get unballooned(): boolean {
    return this.spec.driver === false || this.unloaded || this.#clock < this.#bootedAt;
  }

  /** The most memory that the guest can hold until a new target is set. */
  get charge(): number {
    return this.unballooned || this.pinned ? this.spec.maximum : Math.max(this.target, this.actual);
  }

  /** Memory that the guest has touched and the balloon has not taken, whatever backs it; all of it if a device pins it. */
  get held(): number {
    return this.pinned ? this.spec.maximum : this.#touched;
  }

  /** Memory that the guest can still take without being given more. */
  get mayTake(): number {
    return this.spec.backing === 'hugetlb' ? 0 : Math.max(0, this.charge + this.plugged - this.held);
  }

  /** Resident memory: what the guest holds, unless it is in huge pages, plus QEMU itself. */
  get rss(): number {
    return (this.spec.backing === 'hugetlb' ? 0 : this.held) + OVERHEAD;
  }

  /** The part of `rss` that is file pages. */
  get rssFile(): number {
    return this.spec.backing === 'file' ? this.held : 0;
  }

  setPeriod(seconds: number): void {
    if (seconds > 0 && this.period === 0) this.#nextFigures = this.#clock;
    this.period = seconds;
  }

  setTarget(kib: number): void {
    // QEMU limits a target to the guest's RAM, although libvirt's maximum includes an NVDIMM.
    this.target = Math.min(kib, this.spec.maximum);
    this.#rests = false;
  }

  /** Reboots inside the same QEMU process. For a while, libvirt shows the old figures. */
  reboot(): void {
    this.rebooted = true;
    this.#bootedAt = this.#clock + REBOOT_MS;
    this.frozen = this.#panicked = false;
    this.#dead = true;
    this.#killed = this.#over();
    this.#lost += this.#files;
    this.#swapped = 0;
    this.swapIn = this.swapOut = this.majorFault = 0;
    this.#warm = 0;
    this.#nextFigures = this.#bootedAt;
  }

  /** Unloads the balloon driver. */
  unload(): void {
    this.unloaded = true;
    this.actual = this.spec.maximum;
  }

  /** Advances the guest to `at`. */
  live(at: number): void {
    const elapsed = at - this.#at;
    this.#at = at;
    if (this.paused || this.hung) return;
    const before = this.#clock;
    this.#clock += elapsed;
    this.#want();
    // A killed program stays dead until it would have freed memory. Memory taken after that belongs to another program.
    const over = this.#over();
    if (over < this.#overBefore) this.#dead = false;
    this.#overBefore = over;
    this.#killed = this.#dead ? over : Math.min(this.#killed, over);
    this.#lost = Math.min(this.#lost, this.#wanted.tmpfs);
    const { used } = this;
    this.cpu += elapsed * (this.spec.load ?? 0.003) + Math.max(0, used - this.#used) / CLEARING_SPEED;
    if (before < this.#bootedAt && this.#clock >= this.#bootedAt && this.spec.driver !== false && !this.unloaded)
      this.actual = this.spec.maximum;
    const { actual } = this;
    if (!this.unballooned && !this.frozen && !this.stuck) this.#moveBalloon(elapsed);
    this.#suffer(elapsed);
    this.#read(elapsed);
    this.#used = this.used;
    this.#touch(elapsed, this.actual - actual);
    this.leastSpare = Math.min(this.leastSpare, this.size - this.#used);
    if (this.unballooned || this.frozen || this.period === 0 || this.#clock < this.#nextFigures) return;
    this.answer();
    this.#nextFigures = this.#clock + this.period * 1000;
  }

  /** Memory becomes resident when it is first touched. The guest touches what it was given last first: `given` KiB since the last step. */
  #touch(elapsed: number, given: number): void {
    const { size, spec } = this;
    const most = spec.figures === 'windows' || spec.figures === 'win32' ? 0 : Math.min(UNCOUNTED, spec.maximum * UNCOUNTED_FRACTION);
    const occupied = this.#used + this.#cached();
    const uncounted = Math.min(most, Math.max(0, this.#uncounted + given));
    const taken = Math.min(uncounted, Math.max(0, occupied - this.#occupied));
    const wanted = Math.min(this.#touched + elapsed * CLEARING_SPEED, occupied);
    this.#touched = Math.min(size, Math.max(this.#touched + taken, wanted));
    this.#uncounted = Math.max(0, Math.min(uncounted - taken, size - occupied));
    this.#occupied = occupied;
  }

  /** Makes the guest report new figures now. */
  answer(): void {
    if (this.paused || this.hung || this.frozen || this.unballooned || this.spec.figures === 'none') return;
    this.#want();
    const { autodeflate, figures, kernel = 69 * MiB, maximum } = this.spec;
    const free = Math.max(0, this.size - this.used - this.#uncounted);
    const caches = this.#cached();
    // MemTotal does not change if the driver takes memory from the guest as any other program would.
    const total = (autodeflate === true || figures === 'windows' ? maximum : this.actual) + this.plugged - kernel;
    const available = Math.max(free, total);
    this.earlier = this.figures;
    this.figures = {
      unused: Math.min(available, free + WATERMARK - caches),
      usable: free,
      available,
      caches: caches + this.#files,
      swapIn: this.swapIn,
      swapOut: this.swapOut,
      majorFault: Math.floor(this.majorFault),
      at: this.#at,
      clockSet: this.clockSet,
    };
  }

  /** What the guest really has: its maximum while it boots, whatever libvirt shows, and what virtio-mem has plugged. */
  get size(): number {
    return (this.#clock < this.#bootedAt ? this.spec.maximum : this.actual) + this.plugged;
  }

  /** Files in tmpfs now. */
  get #files(): number {
    return this.#wanted.tmpfs - this.#lost;
  }

  #want(): void {
    const { uses, tmpfs, cache } = this.spec;
    this.#wanted = { uses: uses(this.#clock), tmpfs: tmpfs?.(this.#clock) ?? 0, cache: cache?.(this.#clock) ?? 0 };
  }

  /** Memory that the program would hold if it had not been killed. */
  #over(): number {
    return Math.max(0, this.#wanted.uses - (this.spec.base ?? 0));
  }

  /** Hot page cache that the workload reads now. */
  get #hot(): number {
    return this.#clock >= (this.spec.hotFrom ?? 0) ? (this.spec.hot ?? 0) : 0;
  }

  /** Page cache in memory. The kernel evicts hot pages last. */
  #cached(): number {
    return Math.min(Math.max(this.#wanted.cache, this.#warm), Math.max(0, this.size - this.used));
  }

  /** Reads from disk. Hot page cache that is missing is read, and stays in memory until memory is short again. */
  #read(elapsed: number): void {
    this.diskReads += ((this.spec.streams ?? 0) * elapsed) / 1000;
    const hot = this.#hot;
    if (hot > 0) this.cpu += elapsed * READING_LOAD;
    this.#warm = Math.min(this.#warm, Math.max(0, this.size - this.used));
    if (hot === 0 || this.#warm >= hot) return;
    const missing = 1 - this.#warm / hot;
    const read = ((missing / ((1 - missing) / CACHED_RATE + missing / DISK_RATE)) * elapsed) / 1000;
    this.diskReads += read;
    if (this.spec.mapped === true) this.majorFault += ((MOST_FAULTS * elapsed) / 1000) * missing;
    this.#warm = Math.min(hot, this.#warm + read, Math.max(0, this.size - this.used));
  }

  #moveBalloon(elapsed: number): void {
    if (this.#rests) return;
    const reach = (this.speed * elapsed) / 1000;
    // The balloon takes all free memory but no more [M], and never gives memory back while it inflates.
    const least = Math.min(this.actual, Math.max(this.spec.limit ?? 0, this.used - this.plugged));
    const gap = Math.min(Math.max(this.target, least), Math.max(this.spec.most ?? this.target, this.actual)) - this.actual;
    this.actual += Math.max(-reach, Math.min(gap, 2 * reach));
  }

  /** What the guest does if memory is short: its balloon deflates, it swaps, its kernel kills. Once there is room, it swaps in. */
  #suffer(elapsed: number): void {
    const { swap = 0, autodeflate, maximum } = this.spec;
    const spare = this.size - this.used;
    if (this.#swapped > 0 && spare > MiB) {
      const back = Math.min(this.#swapped, spare / 2, (SWAP_RATE * elapsed) / 1000);
      this.#swapped -= back;
      this.swapIn += back;
    }
    if (spare >= 0 || this.#panicked) return;
    let short = -spare;
    if (autodeflate === true && this.actual < maximum) {
      const given = Math.min(maximum - this.actual, Math.ceil(short / MiB) * MiB);
      this.actual += given;
      this.#rests = true;
      this.deflatedAt = this.#at;
      short -= given;
    }
    if (short <= 0) return;
    const out = Math.max(0, Math.min(swap - this.#swapped, (SWAP_RATE * elapsed) / 1000, short));
    this.#swapped += out;
    this.swapOut += out;
    if (out >= short) return;
    this.kills++;
    this.onKill();
    this.#dead = this.spec.base !== undefined;
    this.#killed = this.#dead ? this.#over() : this.#killed + this.used / 2;
    this.#swapped = 0;
    // The kernel panics: nothing is left to kill.
    if (this.used > this.size) this.frozen = this.#panicked = true;
  }
}
