/**
 * CPU time of guests' virtual CPUs, straight from the host's /proc. No guest or daemon is involved, so it costs some microseconds, where
 * reading the guest's memory figures costs milliseconds. The policy's activity checks use it.
 *
 * Works for QEMU's driver on this host. QEMU names the threads `CPU 0/KVM` (libvirt passes debug-threads=on).
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import type { GuestIdentity } from '../sweep.js';
import { processOf } from './processes.js';

/** Virtual CPUs come and go by hot-plug; they are looked up again after this time, ms. */
const LOOK_UP_AGAIN = 30_000;

interface Threads {
  /** libvirt's id of the start of the guest that they belong to. */
  readonly id: number;
  /** Their schedstat files, open: reading one again takes 0.7 µs, opening it each time 9 µs [M]. Empty if the host does not report them. */
  readonly files: readonly number[];
  readonly foundAt: number;
}

export class VcpuTimes {
  readonly #run: string;
  readonly #proc: string;
  readonly #threads = new Map<string, Threads>();

  /** @param run libvirt's run directory. */
  constructor(run: string, proc = '/proc') {
    this.#run = run;
    this.#proc = proc;
  }

  /**
   * CPU time that each guest's virtual CPUs have used since they were started, ms, in the order given; NaN where the host does not report
   * it.
   *
   * @param guests all running guests: others are forgotten
   */
  read(guests: readonly GuestIdentity[], now: number): Float64Array {
    this.#forgetOthers(guests);
    return Float64Array.from(guests, (guest) => {
      const { files } = this.#threadsOf(guest, now);
      const time = sum(files);
      // A thread has ended: look the threads up again the next time.
      if (Number.isNaN(time) && files.length > 0) this.#forget(guest.uuid);
      return time;
    });
  }

  /** @internal For tests: guests whose threads are kept. */
  get known(): number {
    return this.#threads.size;
  }

  /** Number of virtual CPUs that {@link read} reads for these guests; a guest of which the host reports none counts as one. */
  count(guests: readonly GuestIdentity[], now: number): number {
    this.#forgetOthers(guests);
    return guests.reduce((count, guest) => count + Math.max(1, this.#threadsOf(guest, now).files.length), 0);
  }

  #threadsOf(guest: GuestIdentity, now: number): Threads {
    const known = this.#threads.get(guest.uuid);
    if (known !== undefined && known.id === guest.id && now - known.foundAt < LOOK_UP_AGAIN) return known;
    this.#forget(guest.uuid);
    const found = { id: guest.id, files: this.#find(guest), foundAt: now };
    this.#threads.set(guest.uuid, found);
    return found;
  }

  #forgetOthers(guests: readonly GuestIdentity[]): void {
    if (this.#threads.size <= guests.length) return;
    const here = new Set(guests.map(({ uuid }) => uuid));
    for (const uuid of this.#threads.keys()) if (!here.has(uuid)) this.#forget(uuid);
  }

  #forget(uuid: string): void {
    for (const file of this.#threads.get(uuid)?.files ?? []) closeSync(file);
    this.#threads.delete(uuid);
  }

  close(): void {
    for (const uuid of [...this.#threads.keys()]) this.#forget(uuid);
  }

  #find(guest: GuestIdentity): number[] {
    const pid = processOf(guest, this.#run, this.#proc);
    if (pid === null) return [];
    const tasks = `${this.#proc}/${pid}/task`;
    const files: number[] = [];
    try {
      for (const task of readdirSync(tasks)) {
        if (!/^CPU \d+\//.test(readFileSync(`${tasks}/${task}/comm`, 'utf8'))) continue;
        files.push(openSync(`${tasks}/${task}/schedstat`, 'r'));
      }
      return files;
    } catch {
      // The process has ended, is not ours to read, or too many files are open.
      for (const file of files) closeSync(file);
      return [];
    }
  }
}

const buffer = Buffer.alloc(64);

/** schedstat's first figure is the time spent on a CPU, ns, as of the thread's last tick or switch; NaN where one has ended. */
function sum(files: readonly number[]): number {
  if (files.length === 0) return Number.NaN;
  try {
    return (
      files.reduce(
        (total, file) => total + Number.parseInt(buffer.toString('latin1', 0, readSync(file, buffer, 0, buffer.length, 0)), 10),
        0,
      ) / 1e6
    );
  } catch {
    return Number.NaN;
  }
}
