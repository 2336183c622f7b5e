/** What the host itself knows of QEMU guests that run on it, besides what libvirt reports: from /proc and the cgroups. */
import { type CgroupLimits, cgroupLimits } from '../host/cgroups.js';
import type { DomainFacts } from '../hypervisor.js';
import { type GuestIdentity, READ, RSS_FILE, STATUS, STRIDE, type Sweep } from '../sweep.js';
import { fileRss, processOf } from './processes.js';
import { VcpuTimes } from './vcpus.js';

/** cgroup limits can change while guests run (`systemctl set-property`): they are looked up again after this time, ms. */
const LIMITS_AGAIN = 30_000;

export interface LocalHost {
  readonly vcpus: VcpuTimes;
  /** {@link HostMemory.cgroupRoom} of these guests. */
  cgroupRoom(guests: readonly GuestIdentity[]): number | null;
  /** Fills {@link RSS_FILE} of the few guests whose memory is backed by a file, as {@link withHostFacts} has noted. */
  noteFileRss(sweep: Sweep): void;
  /** The facts of one of `guests`, all that there are, with what the host knows of it. */
  withHostFacts(uuid: string, facts: DomainFacts, guests: readonly GuestIdentity[]): DomainFacts;
}

/** @param run libvirt's run directory, see processes.ts */
export function localHost(run: string, proc = '/proc', now: () => number = () => performance.now()): LocalHost {
  const fileBacked = new Map<string, { readonly id: number; readonly pid: number }>();
  let found: { readonly guests: readonly GuestIdentity[]; readonly at: number; readonly limits: CgroupLimits } | null = null;

  function limitsOf(guests: readonly GuestIdentity[]): CgroupLimits {
    if (found?.guests === guests && now() - found.at < LIMITS_AGAIN) return found.limits;
    const processes = guests.flatMap((guest) => {
      const pid = processOf(guest, run, proc);
      return pid === null ? [] : [{ uuid: guest.uuid, pid }];
    });
    found = { guests, at: now(), limits: cgroupLimits(processes, proc) };
    return found.limits;
  }

  return {
    vcpus: new VcpuTimes(run, proc),
    cgroupRoom: (guests) => limitsOf(guests).room(),
    noteFileRss({ guests, figures }) {
      if (fileBacked.size === 0) return;
      for (const [row, { uuid, id }] of guests.entries()) {
        const process = fileBacked.get(uuid);
        if (process?.id === id && figures[row * STRIDE + STATUS] === READ) figures[row * STRIDE + RSS_FILE] = fileRss(process.pid, proc);
      }
    },
    withHostFacts(uuid, facts, guests) {
      const here = new Set(guests.map((guest) => guest.uuid));
      for (const known of fileBacked.keys()) if (known === uuid || !here.has(known)) fileBacked.delete(known);
      const guest = guests.find((each) => each.uuid === uuid);
      if (guest === undefined) return facts;
      const pid = facts.backing === 'file' ? processOf(guest, run, proc) : null;
      if (pid !== null) fileBacked.set(uuid, { id: guest.id, pid });
      const own = limitsOf(guests).own.get(uuid);
      return own === undefined ? facts : { ...facts, hardLimit: Math.min(facts.hardLimit ?? own, own) };
    },
  };
}
