/** A simulated guest: programs that take memory, a balloon of finite speed, figures that lag. KiB, ms, KiB/s. */
import { MiB } from '../common/units.js';
import type { Figures, FiguresKind } from './figures.js';
import type { Workload } from './workload.js';

/** A simulated guest. Sizes KiB, times ms, rates KiB/s. */
export interface GuestSpec {
  readonly name: string;
  readonly maximum: number;
  /** Balloon size and target at the start; `maximum` by default. */
  readonly current?: number;
  /** Memory in use, its kernel's share included; what is over `base` is a program's, which the OOM killer takes. */
  readonly uses: Workload;
  /** What is left in use when its program is killed; half of what was used by default. */
  readonly base?: number;
  /** Files in memory: nothing gives them back but their owner, and the balloon cannot take them. */
  readonly tmpfs?: Workload;
  /** Page cache that the guest fills where memory is free: counts as spare. */
  readonly cache?: Workload;
  /** Page cache that its work reads again and again: what of it is not in memory is read from disk. */
  readonly hot?: number;
  /** When that work begins, on the guest's clock; at once by default. */
  readonly hotFrom?: number;
  /** True: the work reads it through mappings, so that what is missing makes major faults too. */
  readonly mapped?: boolean;
  /** Rate at which it reads from disk what it never reads again, and keeps nothing of it. */
  readonly streams?: number;
  /** Size of its swap. */
  readonly swap?: number;
  /** MemTotal is the balloon's size less this; 69 MiB for a guest of 2 GiB [M]. */
  readonly kernel?: number;
  /** Speed at which the balloon takes; 500 MiB/s by default [M: 400 to 600]. It gives back twice as fast [M: above 1 GiB/s]. */
  readonly speed?: number;
  /** Its balloon cannot push it below this size, however often it tries. */
  readonly limit?: number;
  /** Part of the time that its virtual CPU runs beside what taking memory into use costs it; 0.3 % by default [M: an idle guest]. */
  readonly load?: number;
  readonly autodeflate?: boolean;
  /** False: no balloon driver answers. */
  readonly driver?: boolean;
  /** What it reports of itself, where that is not the whole truth. */
  readonly figures?: FiguresKind;
  /**
   * What its memory is made of, where it is not anonymous: pages of the host's huge page pool (in neither RSS nor available memory), or
   * of a file (in both).
   */
  readonly backing?: 'hugetlb' | 'file';
  /** Size of an NVDIMM: counted by libvirt's maximum, not by the balloon. */
  readonly nvdimm?: number;
  /** Size of a virtio-mem device: counted by libvirt's maximum. Half of it is plugged, and the guest has that beside its balloon. */
  readonly virtioMem?: number;
  /** Resident memory at which QEMU is killed. */
  readonly hardLimit?: number;
  /** Its balloon does not go above this size, which nobody is told. */
  readonly most?: number;
}

/** MemAvailable is this much under MemFree: the watermarks [M: 100 MiB unused are some 31 MiB usable]. */
const WATERMARK = 69 * MiB;
/**
 * What Linux keeps of the memory that it was given in lists for each CPU, up to its low watermark, in no figure of its own, and uses first [M:
 * 50 MiB of a guest of 2 GiB with one CPU]. The low watermark is a sixteenth of a small guest.
 */
const UNCOUNTED = 50 * MiB;
const UNCOUNTED_FRACTION = 1 / 16;
/** Memory that a CPU takes into use, KiB a ms: 2 GiB/s. */
const CLEARING_SPEED = (2 * 1024 * MiB) / 1000;
/** Memory of QEMU itself: what the policy takes it for where it cannot see it. */
export const OVERHEAD = 48 * MiB;
/** Rate of swapping. */
const SWAP_RATE = 100 * MiB;
/** Major faults a second of work that has none of its hot page cache, where it is mapped. */
const MOST_FAULTS = 2000;
/** Rates at which work reads its hot page cache: from memory, and from a disk [M: 1,000 MiB in 1.7 s, and at 80 MiB/s]. */
const CACHED_RATE = 600 * MiB;
export const DISK_RATE = 80 * MiB;
/** Part of the time that its virtual CPU runs for such work. Chosen. */
const READING_LOAD = 0.2;
/** From a reboot until the balloon driver is there: till then the guest holds its maximum, and libvirt shows the figures from before [M]. */
const REBOOT_MS = 4500;
/** [M: 400 to 600 MiB/s] */
export const BALLOON_SPEED = 500 * MiB;
/** From the start of a guest until its balloon driver is there. */
export const BOOT_MS = 5000;

/** What ended a guest, or a program of it: the guest's own kernel, the host that is out of memory, or its hard limit. */
export type Killer = 'guest' | 'host' | 'limit';

export class SimGuest {
  readonly spec: GuestSpec;
  readonly uuid: string;
  id: number;
  actual: number;
  target: number;
  /** Seconds; 0 = off. */
  period = 0;
  /** How far the host's wall clock was set, ms. */
  clockSet = 0;
  paused = false;
  /** True: in distress, its balloon driver answers nothing and moves nothing. */
  frozen = false;
  /** True: the balloon does not move, though figures come. */
  stuck = false;
  /** True: QEMU is stopped and answers no call. */
  hung = false;
  /** True: it is being migrated, libvirt stores no target. */
  migrating = false;
  /** True: a device pins all its memory. */
  pinned = false;
  /** True: it was rebooted, and may have come back without a driver. */
  rebooted = false;
  /** True: the driver was taken out; the guest has its maximum. */
  unloaded = false;
  figures: Figures | null = null;
  /** The answer before that. */
  earlier: Figures | null = null;
  /** Times that the guest ran out of memory and what its program held is gone, or that QEMU was killed. */
  kills = 0;
  onKill: () => void = () => {};
  /** When its balloon last gave memory back by itself, ms of the host's clock. */
  deflatedAt = Number.NEGATIVE_INFINITY;
  /** The least that it had, by its definition or somebody else's word, KiB. */
  leastHad: number;
  /** Lowest spare seen, KiB. */
  leastSpare = Number.POSITIVE_INFINITY;
  /** Time that its virtual CPU has run, ms. */
  cpu = 0;
  swapIn = 0;
  swapOut = 0;
  majorFault = 0;
  /** What it has read from its disks. */
  diskReads = 0;
  /** Hot page cache that is in memory. */
  #warm = 0;
  #swapped = 0;
  #killed = 0;
  #overBefore = 0;
  #dead = false;
  #panicked = false;
  /** What lay in tmpfs when it was rebooted. */
  #lost = 0;
  /** What its programs would hold, its tmpfs and its page cache would have, were there room: at its clock. */
  #wanted = { uses: 0, tmpfs: 0, cache: 0 };
  #used = 0;
  /** Its page cache, and what it uses. */
  #occupied = 0;
  #touched = 0;
  /** What it was given, has not touched and does not count as free. */
  #uncounted = 0;
  /** The guest's own clock stands while it is paused. */
  #clock: number;
  #at: number;
  /** On the guest's clock: when its driver is there. */
  #bootedAt: number;
  #nextFigures = Number.POSITIVE_INFINITY;
  /** The balloon gave memory back by itself: it rests until it is told something. */
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
    // One that boots has touched nothing yet.
    this.#touched = bootMs > 0 ? 0 : this.#used;
  }

  get used(): number {
    return Math.max(0, this.#wanted.uses - this.#killed - this.#swapped) + this.#files;
  }

  /** What it has swapped out. */
  get swapped(): number {
    return this.#swapped;
  }

  /** How fast its balloon gives, KiB/s; it takes twice as fast. */
  get speed(): number {
    return this.spec.speed ?? BALLOON_SPEED;
  }

  /** What virtio-mem adds to its balloon. */
  get plugged(): number {
    return (this.spec.virtioMem ?? 0) / 2;
  }

  /** Memory that libvirt's maximum counts and the balloon does not. */
  get deviceMemory(): number {
    return (this.spec.nvdimm ?? 0) + (this.spec.virtioMem ?? 0);
  }

  /** True while no driver has its hand on the balloon, so that the guest may hold its maximum. */
  get unballooned(): boolean {
    return this.spec.driver === false || this.unloaded || this.#clock < this.#bootedAt;
  }

  /** The most that it can hold by what is set now. */
  get charge(): number {
    return this.unballooned || this.pinned ? this.spec.maximum : Math.max(this.target, this.actual);
  }

  /** Memory of its own that it has touched and the balloon has not taken, wherever its pages are. */
  get held(): number {
    return this.pinned ? this.spec.maximum : this.#touched;
  }

  /** What it can still take without anybody giving it more. */
  get mayTake(): number {
    return this.spec.backing === 'hugetlb' ? 0 : Math.max(0, this.charge + this.plugged - this.held);
  }

  /** Resident memory: what it holds, if not in huge pages, and the process itself. */
  get rss(): number {
    return (this.spec.backing === 'hugetlb' ? 0 : this.held) + OVERHEAD;
  }

  /** Part of it that is pages of a file. */
  get rssFile(): number {
    return this.spec.backing === 'file' ? this.held : 0;
  }

  setPeriod(seconds: number): void {
    if (seconds > 0 && this.period === 0) this.#nextFigures = this.#clock;
    this.period = seconds;
  }

  setTarget(kib: number): void {
    // QEMU takes no more than the guest's RAM for a target, though libvirt counts an NVDIMM into the maximum.
    this.target = Math.min(kib, this.spec.maximum);
    this.#rests = false;
  }

  /** Starts anew inside the same QEMU: for a while libvirt shows what was there before. */
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

  /** The driver is taken out. */
  unload(): void {
    this.unloaded = true;
    this.actual = this.spec.maximum;
  }

  /** Lives until `at`. */
  live(at: number): void {
    const elapsed = at - this.#at;
    this.#at = at;
    if (this.paused || this.hung) return;
    const before = this.#clock;
    this.#clock += elapsed;
    this.#want();
    // A program that was killed stays so until it would have given memory back: what is taken after that is another's.
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

  /** Memory comes to be resident when it is first touched: of what was given last, which has grown by `given`, first. */
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

  /** Takes new figures now. */
  answer(): void {
    if (this.paused || this.hung || this.frozen || this.unballooned || this.spec.figures === 'none') return;
    this.#want();
    const { autodeflate, figures, kernel = 69 * MiB, maximum } = this.spec;
    const free = Math.max(0, this.size - this.used - this.#uncounted);
    const caches = this.#cached();
    // MemTotal stays where the driver takes memory away from the guest as any other program would.
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

  /** What it really has: its maximum while no driver holds the balloon, whatever libvirt shows. */
  get size(): number {
    return (this.#clock < this.#bootedAt ? this.spec.maximum : this.actual) + this.plugged;
  }

  /** What lies in tmpfs. */
  get #files(): number {
    return this.#wanted.tmpfs - this.#lost;
  }

  #want(): void {
    const { uses, tmpfs, cache } = this.spec;
    this.#wanted = { uses: uses(this.#clock), tmpfs: tmpfs?.(this.#clock) ?? 0, cache: cache?.(this.#clock) ?? 0 };
  }

  /** What its program would hold, had it not been killed. */
  #over(): number {
    return Math.max(0, this.#wanted.uses - (this.spec.base ?? 0));
  }

  /** Page cache that its work reads now. */
  get #hot(): number {
    return this.#clock >= (this.spec.hotFrom ?? 0) ? (this.spec.hot ?? 0) : 0;
  }

  /** Hot pages are the last that the kernel lets go. */
  #cached(): number {
    return Math.min(Math.max(this.#wanted.cache, this.#warm), Math.max(0, this.size - this.used));
  }

  /** Reads: what of its hot page cache is not in memory comes from disk, and is there until memory is short again. */
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
    // It takes what is free, down to the last of it, and no more [M]; and never gives while it takes.
    const least = Math.min(this.actual, Math.max(this.spec.limit ?? 0, this.used - this.plugged));
    const gap = Math.min(Math.max(this.target, least), Math.max(this.spec.most ?? this.target, this.actual)) - this.actual;
    this.actual += Math.max(-reach, Math.min(gap, 2 * reach));
  }

  /** What it does where memory is short: the balloon gives back, it swaps, the kernel kills. */
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
    // Nothing is left to kill.
    if (this.used > this.size) this.frozen = this.#panicked = true;
  }
}
