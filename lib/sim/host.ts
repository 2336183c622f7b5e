/** A simulated host: the hypervisor's interface and a clock of its own over simulated guests. Memory is conserved. */
import type { DomainFacts, Hypervisor, HypervisorEvent } from '../hypervisor.js';
import {
  ACTUAL,
  AVAILABLE,
  DISK_CACHES,
  ERROR,
  type GuestIdentity,
  LAST_UPDATE,
  MAJOR_FAULT,
  MAXIMUM,
  MINOR_FAULT,
  NOT_ASKED,
  READ,
  READ_AT,
  REFRESHED,
  RSS,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
  SWAP_OUT,
  type Sweep,
  UNUSED,
  USABLE,
} from '../sweep.js';
import type { Time } from '../time.js';
import { type GuestSpec, SimGuest } from './guest.js';

/** Time from setting a target until it is stored [M: 30 to 70 ms]. */
const ORDER_MS = 50;
/** Time that a forced refresh takes [M: two calls of 2 ms, and 20 ms that the addon waits for the figures]. */
const REFRESH_MS = 25;
/** Largest step in which guests live. */
const STEP_MS = 20;

/** What is used of the host beside the guests, KiB, is `total - free`. */
export interface HostSpec {
  readonly total: number;
  readonly guests: readonly GuestSpec[];
}

interface Sleeper {
  readonly at: number;
  readonly resolve: () => void;
}

export class SimHost {
  readonly total: number;
  readonly guests: SimGuest[] = [];
  pressure = false;
  /** Called after every step of the guests' lives. */
  onStep: (host: SimHost) => void = () => {};
  #at = 0;
  #ids = 1;
  #sleepers: Sleeper[] = [];
  #listeners = new Set<(event: HypervisorEvent) => void>();
  #identities: readonly GuestIdentity[] = [];

  constructor({ total, guests }: HostSpec) {
    this.total = total;
    for (const spec of guests) this.start(spec);
  }

  get now(): number {
    return this.#at;
  }

  readonly time: Time = {
    now: () => this.#at,
    sleep: (ms) => {
      let wake = () => {};
      const done = new Promise<void>((resolve) => {
        const sleeper = { at: this.#at + ms, resolve };
        this.#sleepers.push(sleeper);
        wake = () => {
          this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
          resolve();
        };
      });
      return { done, wake };
    },
  };

  guest(name: string): SimGuest {
    const found = this.guests.find((guest) => guest.spec.name === name);
    if (found === undefined) throw new Error(`no simulated guest is named ${name}`);
    return found;
  }

  start(spec: GuestSpec): SimGuest {
    const id = this.#ids++;
    const uuid = `00000000-0000-4000-8000-${id.toString(16).padStart(12, '0')}`;
    const guest = new SimGuest(spec, uuid, id, this.#at);
    this.guests.push(guest);
    this.tell({ kind: 'started', uuid, name: spec.name });
    return guest;
  }

  stop(name: string): void {
    const guest = this.guest(name);
    this.guests.splice(this.guests.indexOf(guest), 1);
    this.tell({ kind: 'stopped', uuid: guest.uuid, name });
  }

  tell(event: HypervisorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Lets `ms` pass; whoever sleeps on `time` is woken when its moment comes. */
  async pass(ms: number): Promise<void> {
    const end = this.#at + ms;
    for (;;) {
      // Everything that is not asleep on the host's clock comes to its next sleep without real time passing.
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      const next = this.#sleepers.reduce<Sleeper | null>((first, each) => (first === null || each.at < first.at ? each : first), null);
      if (next === null || next.at > end) break;
      this.#live(next.at);
      this.#sleepers = this.#sleepers.filter((each) => each !== next);
      next.resolve();
    }
    this.#live(end);
  }

  #live(until: number): void {
    while (this.#at < until) {
      this.#at = Math.min(until, this.#at + STEP_MS);
      for (const guest of this.guests) guest.live(this.#at);
      this.onStep(this);
    }
  }

  /** A connection to this host. */
  readonly connect = async (): Promise<Hypervisor> => ({
    uri: 'sim:///host',
    sample: (options) => this.#sample(options),
    cpuTimes: (guests) => Float64Array.from(guests, ({ uuid }) => this.#find(uuid)?.cpu ?? Number.NaN),
    setMemory: async (moves) => {
      this.#live(this.#at + ORDER_MS);
      return moves.map(({ uuid, kib }) => {
        const guest = this.#find(uuid);
        if (guest === undefined) return Object.assign(new Error('no such domain'), { code: 'ERR_LIBVIRT_NO_DOMAIN' });
        if (kib > guest.spec.maximum) return Object.assign(new Error('above the maximum'), { code: 'ERR_LIBVIRT_INVALID_ARG' });
        guest.target = kib;
        return null;
      });
    },
    setStatsPeriod: async (uuid, seconds) => this.#find(uuid)?.setPeriod(seconds),
    describe: async (uuid) => this.#describe(uuid),
    onEvent: (listener) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    },
    hostMemory: async () => ({ total: this.total, available: this.#available(), pressure: this.pressure }),
    hostId: async () => null,
    isAlive: () => true,
    close: async () => {},
  });

  #find(uuid: string): SimGuest | undefined {
    return this.guests.find((guest) => guest.uuid === uuid);
  }

  #available(): number {
    return this.total - this.guests.reduce((sum, guest) => sum + guest.rss, 0);
  }

  #describe(uuid: string): DomainFacts {
    const guest = this.#find(uuid);
    if (guest === undefined) throw new Error('no such domain');
    return {
      maximum: guest.spec.maximum,
      current: guest.actual,
      balloonModel: 'virtio',
      autodeflate: guest.spec.autodeflate === true,
      statsPeriod: guest.period,
      obstacles: [],
      metadata: null,
    };
  }

  async #sample({ only, refresh = [] }: { only?: readonly string[]; refresh?: readonly string[] }): Promise<Sweep> {
    const fresh = this.guests.filter(
      ({ uuid, frozen, period, spec }) => refresh.includes(uuid) && !frozen && period > 0 && spec.driver !== false,
    );
    if (fresh.length > 0) {
      this.#live(this.#at + REFRESH_MS);
      for (const guest of fresh) guest.answer();
    }
    const same = this.#identities.length === this.guests.length && this.#identities.every(({ id }, i) => id === this.guests[i]?.id);
    if (!same) this.#identities = this.guests.map(({ uuid, id, spec }) => ({ uuid, id, name: spec.name }));
    const figures = new Float64Array(this.guests.length * STRIDE).fill(Number.NaN);
    this.guests.forEach((guest, row) => {
      const at = row * STRIDE;
      if (only !== undefined && !only.includes(guest.uuid)) {
        figures[at + STATUS] = NOT_ASKED;
        return;
      }
      figures.set(rowOf(guest, this.#at), at);
      if (refresh.includes(guest.uuid) && guest.period > 0) figures[at + REFRESHED] = 0;
    });
    return { guests: this.#identities, figures };
  }
}

function rowOf(guest: SimGuest, at: number): number[] {
  const row = new Array<number>(STRIDE).fill(Number.NaN);
  const { figures } = guest;
  row[STATUS] = READ;
  row[ERROR] = Number.NaN;
  row[STATE] = guest.paused ? 3 : 1;
  row[MAXIMUM] = guest.spec.maximum;
  row[ACTUAL] = guest.actual;
  row[RSS] = guest.rss;
  row[READ_AT] = at;
  row[LAST_UPDATE] = figures?.lastUpdate ?? 0;
  if (figures === null) return row;
  row[UNUSED] = figures.unused;
  row[AVAILABLE] = figures.available;
  row[USABLE] = figures.usable;
  row[DISK_CACHES] = 0;
  row[SWAP_IN] = guest.swapIn;
  row[SWAP_OUT] = 0;
  row[MAJOR_FAULT] = guest.majorFault;
  row[MINOR_FAULT] = 0;
  return row;
}
