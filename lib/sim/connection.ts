/** The hypervisor interface to a simulated host: it answers what libvirt would answer, in the time that libvirt would take. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { DomainFacts, Hypervisor } from '../hypervisor.js';
import {
  ACTUAL,
  AVAILABLE,
  DISK_CACHES,
  ERROR,
  FAILED,
  type GuestIdentity,
  JOB,
  LAST_UPDATE,
  MAJOR_FAULT,
  MAXIMUM,
  MIGRATION_OUT,
  MINOR_FAULT,
  MISSED,
  NOT_ASKED,
  READ,
  READ_AT,
  READS,
  REFRESHED,
  RSS,
  RSS_FILE,
  SET_ASIDE,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
  SWAP_OUT,
  type Sweep,
  UNUSED,
  USABLE,
} from '../sweep.js';
import type { SimClock } from './clock.js';
import { reported } from './figures.js';
import type { SimGuest } from './guest.js';
import type { SimHost } from './host.js';

/** Time from setting a target until it is stored [M: 30 to 70 ms]. */
const ORDER_MS = { min: 30, max: 70 };
/** Time that a forced refresh takes [M: two calls of 2 ms, and 20 ms that the addon waits for the figures]. */
const REFRESH_MS = 25;
/** A call is late, and no longer waited for, after this time: the list if guests are known, and calls on one guest (native/patience.h). */
const LATE_MS = 300;
/** libvirt gives up a job that waits for a stopped QEMU after this time, with this virErrorNumber. */
const JOB_MS = 30_000;
const OPERATION_TIMEOUT = 68;
/** Opening a connection waits this long for a daemon that hangs. */
const OPEN_MS = 4000;
/** The simulated wall clock at the start, ms since 1970. */
const WALL_CLOCK = 1_700_000_000_000;

type Deadline = { readonly deadlineMs: number };

const RUNNING = 1;
const PAUSED = 3;

function failure(code: string, message: string): Error & { code: string } {
  return Object.assign(new Error(message), { code });
}

const late = () => failure('ERR_MEMCOORD_DEADLINE', 'the call did not come back in time');
const gone = () => failure('ERR_LIBVIRT_NO_DOMAIN', 'no such domain');

/** Opens connections to a simulated host. */
export function connectTo(host: SimHost, clock: SimClock): () => Promise<Hypervisor> {
  return async () => {
    if (host.daemon === 'hung') await clock.sleep(OPEN_MS).done;
    if (host.daemon !== 'up') throw failure('ERR_LIBVIRT_SYSTEM_ERROR', 'the simulated daemon does not answer');
    return new Connection(host, clock);
  };
}

class Connection implements Hypervisor {
  readonly uri = 'sim:///host';
  readonly #host: SimHost;
  readonly #clock: SimClock;
  readonly #random: ReturnType<typeof xoroshiro128plus>;
  readonly #deaf: () => void;
  #alive = true;
  #identities: readonly GuestIdentity[] = [];
  /** Whether a list has ever come back, and whether the last one was late. */
  #listed = false;
  #listLate = false;
  /** Calls that a stopped QEMU has not answered, or that wait for a migration: when each was made, by guest UUID. */
  #asked = new Map<string, number>();

  constructor(host: SimHost, clock: SimClock) {
    this.#host = host;
    this.#clock = clock;
    this.#random = xoroshiro128plus(host.seed);
    this.#deaf = host.listen(({ kind }) => {
      if (kind === 'closed') this.#alive = false;
    });
  }

  /** Every call goes through the daemon. */
  async #reach(deadlineMs: number): Promise<void> {
    if (this.#host.daemon === 'hung' && this.#alive) {
      await this.#clock.sleep(deadlineMs).done;
      throw late();
    }
    if (!this.#alive) throw failure('ERR_MEMCOORD_CLOSED', 'the connection is closed');
  }

  /**
   * libvirt finds the guests by listing them. The list waits for the lock of a guest that is being torn down [M]. Once the list is late,
   * known guests are read without it, and events announce the others.
   */
  async #list(deadlineMs: number): Promise<void> {
    if (this.#host.listsWait && !this.#listed) {
      await this.#clock.sleep(deadlineMs).done;
      if (this.#host.listsWait) throw late();
    }
    if (this.#host.listsWait && !this.#listLate) await this.#clock.sleep(LATE_MS).done;
    this.#listLate = this.#host.listsWait;
    this.#listed = true;
  }

  readonly sample = async ({ deadlineMs, only, refresh = [], reads = [] }: Parameters<Hypervisor['sample']>[0]): Promise<Sweep> => {
    await this.#reach(deadlineMs);
    await this.#list(deadlineMs);
    const asked = (guest: SimGuest) => only === undefined || only.includes(guest.uuid);
    for (const { uuid, hung, migrating } of this.#host.guests) if (!hung && !migrating) this.#asked.delete(uuid);
    const missed = new Set(this.#host.guests.filter((guest) => guest.hung && asked(guest) && !this.#asked.has(guest.uuid)));
    for (const { uuid } of missed) this.#asked.set(uuid, this.#clock.now());
    const refreshed = this.#host.guests.filter(
      ({ uuid, period, hung, migrating }) => refresh.includes(uuid) && period > 0 && !hung && !migrating,
    );
    if (refreshed.length > 0) this.#clock.take(REFRESH_MS);
    for (const guest of refreshed) guest.answer();

    const { guests } = this.#host;
    const same = this.#identities.length === guests.length && this.#identities.every(({ id }, i) => id === guests[i]?.id);
    if (!same) this.#identities = guests.map(({ uuid, id, spec }) => ({ uuid, id, name: spec.name }));
    const figures = new Float64Array(guests.length * STRIDE).fill(Number.NaN);
    guests.forEach((guest, row) => {
      const at = row * STRIDE;
      const status = asked(guest) ? this.#statusOf(guest, missed) : NOT_ASKED;
      figures[at + STATUS] = status;
      if (status === FAILED) figures[at + ERROR] = OPERATION_TIMEOUT;
      if (status === READ) figures.set(rowOf(guest, this.#clock.now()), at);
      if (status === READ && reads.includes(guest.uuid)) figures[at + READS] = Math.floor(guest.diskReads);
      if (refreshed.includes(guest)) figures[at + REFRESHED] = 0;
    });
    // The other guests are read long before the call on a hung guest is given up.
    if (missed.size > 0) await this.#clock.sleep(Math.min(LATE_MS, deadlineMs)).done;
    return { guests: this.#identities, figures };
  };

  #statusOf(guest: SimGuest, missed: ReadonlySet<SimGuest>): number {
    if (missed.has(guest)) return MISSED;
    const since = this.#asked.get(guest.uuid);
    if (since === undefined) return READ;
    if (this.#clock.now() - since < JOB_MS) return SET_ASIDE;
    this.#asked.delete(guest.uuid);
    // The order that waited has failed.
    return guest.hung ? FAILED : READ;
  }

  readonly cpuTimes = (guests: readonly GuestIdentity[]): Float64Array =>
    Float64Array.from(guests, ({ uuid }) => this.#host.find(uuid)?.cpu ?? Number.NaN);

  readonly vcpuCount = (guests: readonly GuestIdentity[]): number => guests.length;

  readonly setMemory = async (moves: readonly { uuid: string; kib: number }[], { deadlineMs }: Deadline) => {
    if (this.#host.daemon === 'hung' && this.#alive) {
      // The outcome of calls that a hung daemon has accepted is unknown. Here, some are carried out once the daemon no longer hangs.
      await this.#clock.sleep(deadlineMs).done;
      return moves.map(({ uuid, kib }) => {
        if (uniformInt(this.#random, 0, 1) === 1)
          this.#host.once(
            () => this.#host.daemon !== 'hung',
            () => this.#store(uuid, kib, 'late'),
          );
        return late();
      });
    }
    this.#clock.take(uniformInt(this.#random, ORDER_MS.min, ORDER_MS.max));
    const outcomes = moves.map(({ uuid, kib }) => this.#store(uuid, kib, 'coordinator'));
    if (outcomes.some((outcome) => outcome?.code === 'ERR_MEMCOORD_DEADLINE')) await this.#clock.sleep(Math.min(LATE_MS, deadlineMs)).done;
    return outcomes;
  };

  #store(uuid: string, kib: number, by: 'coordinator' | 'late'): (Error & { code: string }) | null {
    if (!this.#alive) return failure('ERR_MEMCOORD_CLOSED', 'the connection is closed');
    const guest = this.#host.find(uuid);
    if (guest === undefined) return gone();
    if (kib > guest.spec.maximum + guest.deviceMemory) return failure('ERR_LIBVIRT_INVALID_ARG', 'above the maximum');
    if (guest.migrating) {
      // The addon makes no call on a guest that it knows to be migrating (native/job.h).
      if (guest.migrationKnown) return failure('ERR_MEMCOORD_BUSY', 'it is being migrated');
      this.#asked.set(uuid, this.#clock.now());
      return late();
    }
    if (guest.hung) {
      this.#host.once(
        () => !guest.hung,
        () => this.#store(uuid, kib, 'late'),
      );
      return late();
    }
    this.#host.store(guest, kib, by);
    return null;
  }

  readonly setStatsPeriod = async (uuid: string, seconds: number, { deadlineMs }: Deadline): Promise<void> => {
    await this.#reach(deadlineMs);
    const guest = this.#host.find(uuid);
    if (guest === undefined) throw gone();
    if (guest.hung || guest.migrating) {
      await this.#clock.sleep(deadlineMs).done;
      throw late();
    }
    guest.setPeriod(seconds);
  };

  readonly describe = async (uuid: string, { deadlineMs }: Deadline): Promise<DomainFacts> => {
    await this.#reach(deadlineMs);
    const guest = this.#host.find(uuid);
    if (guest === undefined) throw gone();
    return {
      maximum: guest.spec.maximum,
      deviceMemory: guest.deviceMemory,
      composed: guest.deviceMemory > 0,
      virtioMem: guest.plugged,
      backing: backingOf(guest),
      hardLimit: guest.spec.hardLimit ?? null,
      current: guest.actual,
      balloonModel: 'virtio',
      autodeflate: guest.spec.autodeflate === true,
      statsPeriod: guest.period,
      obstacles: obstaclesOf(guest),
      metadata: null,
    };
  };

  readonly onEvent = (listener: Parameters<Hypervisor['onEvent']>[0]) => this.#host.listen(listener);

  readonly hostMemory = async () => {
    const { total, memAvailable, arc, arcMinimum, hugePages, cgroupRoom, pressure } = this.#host;
    return {
      total,
      available: Math.max(0, memAvailable),
      arc: Math.max(0, arc - arcMinimum),
      arcMinimum,
      hugePages,
      cgroupRoom: cgroupRoom === null ? null : Math.max(0, cgroupRoom),
      pressure,
    };
  };

  readonly hostId = async () => null;

  readonly isAlive = () => this.#alive;

  readonly close = async () => {
    this.#alive = false;
    this.#deaf();
  };
}

function rowOf(guest: SimGuest, at: number): number[] {
  const { spec, figures } = guest;
  const row = new Array<number>(STRIDE).fill(Number.NaN);
  row[STATUS] = READ;
  row[STATE] = guest.paused ? PAUSED : RUNNING;
  row[MAXIMUM] = spec.maximum + guest.deviceMemory;
  row[ACTUAL] = guest.actual;
  row[RSS] = guest.rss;
  if (spec.backing === 'file') row[RSS_FILE] = guest.rssFile;
  row[READ_AT] = at;
  if (guest.migrationKnown) row[JOB] = MIGRATION_OUT;
  row[LAST_UPDATE] = figures === null ? 0 : Math.floor((WALL_CLOCK + figures.at + figures.clockSet) / 1000);
  if (figures === null) return row;
  const { unused, available, usable, caches, swapIn, swapOut, majorFault, minorFault } = reported(spec.figures, figures, guest.earlier);
  row[UNUSED] = unused;
  row[AVAILABLE] = available;
  row[USABLE] = usable;
  row[DISK_CACHES] = caches;
  row[SWAP_IN] = swapIn;
  row[SWAP_OUT] = swapOut;
  row[MAJOR_FAULT] = majorFault;
  row[MINOR_FAULT] = minorFault;
  return row;
}

/** Why the guest's balloon frees no memory, in the words of libvirt/describe.ts. */
function obstaclesOf({ spec, pinned }: SimGuest): string[] {
  return [
    ...(spec.backing === 'hugetlb' ? ['hugepages'] : []),
    ...(pinned ? ['vfio device hostdev0'] : []),
    ...(spec.virtioMem === undefined ? [] : ['virtio-mem']),
  ];
}

function backingOf({ spec }: SimGuest): DomainFacts['backing'] {
  return spec.backing === 'hugetlb' ? 'hugepages' : (spec.backing ?? 'anonymous');
}
