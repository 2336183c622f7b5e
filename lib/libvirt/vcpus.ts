/**
 * CPU time of guests' virtual CPUs, straight from the host's /proc: neither the guest nor libvirt's daemon is asked, so it costs some
 * microseconds where reading the guest's memory figures costs milliseconds. What it is good for: policy/check.ts.
 *
 * Works for QEMU's driver on this host. libvirt has no call that tells a guest's process; it leaves a pid file for each in its run
 * directory, which is believed where the process of that pid was started for the guest's UUID. QEMU names the threads `CPU 0/KVM`
 * (libvirt passes debug-threads=on).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { GuestIdentity } from '../sweep.js';

/** Virtual CPUs come and go by hot-plug; which there are is looked up again after this time, ms. */
const LOOK_UP_AGAIN = 30_000;

interface Threads {
  /** libvirt's id of the start of the guest that they belong to. */
  readonly id: number;
  /** Their schedstat files; none where the host does not tell. */
  readonly files: readonly string[];
  readonly foundAt: number;
}

/** Where QEMU's driver keeps its pid files; null where the URI is of another driver or host. */
export function runDirectory(uri: string, environment: NodeJS.ProcessEnv = process.env): string | null {
  const match = /^qemu(?:\+unix)?:\/\/\/(system|session)(?:\?|$)/.exec(uri);
  if (match === null) return null;
  if (match[1] === 'system') return '/run/libvirt/qemu';
  return join(environment.XDG_RUNTIME_DIR ?? join(homedir(), '.cache'), 'libvirt/qemu/run');
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

  /** CPU time that each guest's virtual CPUs have used since they were started, ms, in the order given; NaN where the host does not tell. */
  read(guests: readonly GuestIdentity[], now: number): Float64Array {
    return Float64Array.from(guests, (guest) => {
      const known = this.#threads.get(guest.uuid);
      const current = known !== undefined && known.id === guest.id && now - known.foundAt < LOOK_UP_AGAIN;
      const threads = current ? known : { id: guest.id, files: this.#find(guest), foundAt: now };
      if (!current) this.#threads.set(guest.uuid, threads);
      const time = sum(threads.files);
      // A thread has ended: they are looked up anew the next time.
      if (Number.isNaN(time) && threads.files.length > 0) this.#threads.delete(guest.uuid);
      return time;
    });
  }

  #find({ name, uuid }: GuestIdentity): string[] {
    // QEMU's driver has no such names: this is not a way to other folders.
    if (name.includes('/')) return [];
    try {
      const pid = Number(readFileSync(join(this.#run, `${name}.pid`), 'utf8'));
      if (!Number.isInteger(pid)) return [];
      const words = readFileSync(`${this.#proc}/${pid}/cmdline`, 'utf8').split('\0');
      if (words[words.indexOf('-uuid') + 1] !== uuid) return [];
      const tasks = `${this.#proc}/${pid}/task`;
      const vcpus = readdirSync(tasks).filter((task) => /^CPU \d+\//.test(readFileSync(`${tasks}/${task}/comm`, 'utf8')));
      return vcpus.map((task) => `${tasks}/${task}/schedstat`);
    } catch {
      // Ended meanwhile, or not ours to read.
      return [];
    }
  }
}

/** schedstat's first figure is the time spent on a CPU, ns, as of the thread's last tick or switch. */
function sum(files: readonly string[]): number {
  if (files.length === 0) return Number.NaN;
  try {
    return files.reduce((total, file) => total + Number.parseInt(readFileSync(file, 'latin1'), 10), 0) / 1e6;
  } catch {
    return Number.NaN;
  }
}
