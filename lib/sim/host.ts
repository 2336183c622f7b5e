/** A simulated host: its guests, the memory that they share, and the faults that hit them. Memory is conserved. */

import type { Time } from '../common/time.js';
import { GiB } from '../common/units.js';
import type { Hypervisor, HypervisorEvent } from '../hypervisor.js';
import { SimClock } from './clock.js';
import { connectTo } from './connection.js';
import { BOOT_MS, type GuestSpec, type Killer, SimGuest } from './guest.js';

/** One guest in this many has a UUID that is not valid by RFC 4122: libvirt accepts any 128 bits. */
const ODD_UUID_EACH = 3;
/**
 * ZFS gives its cache back at this rate, KiB per ms (1 GiB/s: slower than programs can take memory), while less than this fraction of the
 * host's memory is free.
 */
const ARC_RATE = GiB / 1000;
const ARC_PRESSURE = 1 / 32;
/** A host without any memory left kills after this time, ms. Until then its kernel tries to free memory. */
const OUT_OF_MEMORY_MS = 1000;

export interface HostSpec {
  readonly total: number;
  /** Memory that the host itself uses; none by default. */
  readonly used?: number;
  /** ZFS's cache, which does not count as available memory, and how much of it ZFS keeps; none by default. */
  readonly arc?: number;
  readonly arcMinimum?: number;
  /** Size of the huge page pool; none by default. */
  readonly hugePages?: number;
  /** Limit of the cgroup that all guests are in; none by default. */
  readonly cgroup?: number;
  readonly guests: readonly GuestSpec[];
  /** Turns of the event loop before time advances (clock.ts). */
  readonly turns?: number;
  /** Seed of all random choices; 1 by default. */
  readonly seed?: number;
}

/** libvirt's daemon: it answers, hangs, or is gone. */
export type Daemon = 'up' | 'hung' | 'down';

/** A target that libvirt has just stored, with the guest's previous target and charge. KiB. */
export interface Stored {
  readonly guest: SimGuest;
  /** `late`: a call of the coordinator that had not returned in time. */
  readonly by: 'coordinator' | 'late' | 'other';
  readonly target: number;
  readonly charge: number;
}

export class SimHost {
  readonly total: number;
  readonly seed: number;
  /** Memory that the host itself uses. */
  used: number;
  /** Size of ZFS's cache now. */
  arc: number;
  readonly arcMinimum: number;
  readonly hugePages: number;
  readonly guests: SimGuest[] = [];
  /** These guests and all that are gone, in the order of their starts. */
  readonly everyone: SimGuest[] = [];
  /** Number of guests whose QEMU was killed because the host, or the guests' cgroup, ran out of memory. */
  kills = 0;
  pressure = false;
  daemon: Daemon = 'up';
  /** True: the daemon answers no list of guests, although it answers calls on each guest. */
  listsWait = false;
  /** Called after every step of the simulation. */
  onStep: (host: SimHost) => void = () => {};
  /** Called when a target has been stored. */
  onTarget: (stored: Stored) => void = () => {};
  /** Called when a guest runs out of memory, or its QEMU is killed. */
  onKill: (guest: SimGuest, by: Killer) => void = () => {};
  readonly time: Time;
  readonly connect: () => Promise<Hypervisor>;
  readonly #clock: SimClock;
  readonly #cgroup: number;
  #ids = 1;
  /** Since when the host has had no memory left; null if it has some. */
  #outSince: number | null = null;
  #livedAt = 0;
  /** By how much the wall clock was set, ms. */
  #clockSet = 0;
  #listeners = new Set<(event: HypervisorEvent) => void>();
  #awaited: { readonly ready: () => boolean; readonly what: () => void }[] = [];

  constructor(spec: HostSpec) {
    const { total, used = 0, arc = 0, arcMinimum = 0, hugePages = 0, cgroup = Number.POSITIVE_INFINITY, guests, turns, seed = 1 } = spec;
    this.total = total;
    this.used = used;
    this.arc = arc;
    this.arcMinimum = arcMinimum;
    this.hugePages = hugePages;
    this.#cgroup = cgroup;
    this.seed = seed;
    this.#clock = new SimClock(() => this.#live(), turns);
    this.time = this.#clock;
    this.connect = connectTo(this, this.#clock);
    for (const spec of guests) this.start(spec);
  }

  get now(): number {
    return this.#clock.now();
  }

  /** MemAvailable: memory that neither the host nor a guest holds. File pages count as available, even those of guests. */
  get memAvailable(): number {
    return this.#free + this.guests.reduce((sum, guest) => sum + guest.rssFile, 0);
  }

  /** Room left in the guests' cgroup, as computed from its files; null if there is no cgroup. */
  get cgroupRoom(): number | null {
    if (!Number.isFinite(this.#cgroup)) return null;
    return this.#cgroup - this.guests.reduce((sum, guest) => sum + guest.rss - guest.rssFile, 0);
  }

  /**
   * Memory that guests can really still get. It includes what ZFS would give back. It does not include a guest's file pages: to take them
   * is to stop the guest.
   */
  get available(): number {
    const held = this.#held;
    return Math.min(this.total - this.used - this.arcMinimum - this.hugePages - held, this.#cgroup - held);
  }

  /** Memory that is free at once, without waiting for ZFS; negative if there is too little. */
  get #free(): number {
    return this.total - this.used - this.arc - this.hugePages - this.#held;
  }

  get #held(): number {
    let held = 0;
    for (const guest of this.guests) held += guest.rss;
    return held;
  }

  find(uuid: string): SimGuest | undefined {
    return this.guests.find((guest) => guest.uuid === uuid);
  }

  guest(name: string): SimGuest {
    const found = this.guests.find(({ spec }) => spec.name === name);
    if (found === undefined) throw new Error(`no simulated guest is named ${name}`);
    return found;
  }

  /** Adds a guest: one that already runs or, with `boots`, one that is being started. */
  start(spec: GuestSpec, boots = false): SimGuest {
    const id = this.#ids++;
    const odd = id % ODD_UUID_EACH === 0;
    const uuid = `00000000-0000-${odd ? '0000-0000' : '4000-8000'}-${id.toString(16).padStart(12, '0')}`;
    const guest = new SimGuest(spec, uuid, id, this.now, boots ? BOOT_MS : 0);
    guest.clockSet = this.#clockSet;
    guest.onKill = () => this.onKill(guest, 'guest');
    this.guests.push(guest);
    this.everyone.push(guest);
    this.tell({ kind: 'started', uuid, name: spec.name });
    return guest;
  }

  stop(name: string): void {
    const guest = this.guest(name);
    this.guests.splice(this.guests.indexOf(guest), 1);
    this.tell({ kind: 'stopped', uuid: guest.uuid, name });
  }

  /** Sets a guest's memory as somebody other than the coordinator. */
  set(name: string, kib: number): void {
    this.store(this.guest(name), kib, 'other');
  }

  store(guest: SimGuest, kib: number, by: Stored['by']): void {
    const { target, charge } = guest;
    if (by === 'other') guest.leastHad = Math.min(guest.leastHad, kib);
    guest.setTarget(kib);
    this.onTarget({ guest, by, target, charge });
  }

  /** Moves the wall clock by this much, ms. */
  setClock(by: number): void {
    this.#clockSet += by;
    for (const guest of this.guests) guest.clockSet = this.#clockSet;
  }

  /** Sets the daemon's state. When the daemon ends, all connections to it are lost. */
  setDaemon(daemon: Daemon): void {
    this.daemon = daemon;
    if (daemon === 'down') this.tell({ kind: 'closed', reason: 'the simulated daemon has ended' });
  }

  listen(listener: (event: HypervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(event: HypervisorEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Calls `what` when `ms` have passed since the start. */
  at(ms: number, what: () => void): void {
    this.#clock.at(ms, what);
  }

  /** Calls `what` as soon as `ready` returns true. */
  once(ready: () => boolean, what: () => void): void {
    this.#awaited.push({ ready, what });
  }

  /** Lets `ms` pass, and wakes those who sleep on `time` when their time comes. */
  pass(ms: number): Promise<void> {
    return this.#clock.pass(ms);
  }

  #live(): void {
    const { now } = this;
    const elapsed = now - this.#livedAt;
    this.#livedAt = now;
    for (const guest of this.guests) guest.live(now);
    if (this.arc > this.arcMinimum && this.#free < this.total * ARC_PRESSURE)
      this.arc = Math.max(this.arcMinimum, this.arc - ARC_RATE * elapsed);
    this.#killWhereOut();
    if (this.#awaited.length > 0) {
      const due = this.#awaited.filter(({ ready }) => ready());
      this.#awaited = this.#awaited.filter((each) => !due.includes(each));
      for (const { what } of due) what();
    }
    this.onStep(this);
  }

  /**
   * Kills guests at their hard limit. If the host or the guests' cgroup is out of memory, the kernel kills the largest QEMU process, and
   * libvirt ends its guest.
   */
  #killWhereOut(): void {
    for (const guest of [...this.guests]) if (guest.rss >= (guest.spec.hardLimit ?? Number.POSITIVE_INFINITY)) this.#kill(guest, 'limit');
    const isOut = this.#free < 0 || this.#cgroup < this.#held;
    this.#outSince = isOut ? (this.#outSince ?? this.now) : null;
    if (this.#outSince === null || this.now - this.#outSince < OUT_OF_MEMORY_MS) return;
    const largest = this.guests.reduce<SimGuest | null>((most, guest) => (most === null || guest.rss > most.rss ? guest : most), null);
    if (largest === null) return;
    this.kills++;
    this.#outSince = null;
    this.#kill(largest, 'host');
  }

  #kill(guest: SimGuest, by: Killer): void {
    guest.kills++;
    this.onKill(guest, by);
    this.stop(guest.spec.name);
  }
}
