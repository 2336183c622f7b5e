/** A simulated host: guests, the memory that they share, and what befalls them. Memory is conserved. */

import type { Time } from '../common/time.js';
import { GiB } from '../common/units.js';
import type { Hypervisor, HypervisorEvent } from '../hypervisor.js';
import { SimClock } from './clock.js';
import { connectTo } from './connection.js';
import { BOOT_MS, type GuestSpec, type Killer, SimGuest } from './guest.js';

/** Guests of this many have a UUID that RFC 4122 does not know: libvirt takes any 128 bits. */
const ODD_UUID_EACH = 3;
/** ZFS gives its cache back at this rate, KiB a ms (1 GiB/s: slower than programs can take memory), where less than this part of the host is available. */
const ARC_RATE = GiB / 1000;
const ARC_PRESSURE = 1 / 32;
/** A host that has had nothing left for so long kills, ms: until then the kernel tries to free something. */
const OUT_OF_MEMORY_MS = 1000;

export interface HostSpec {
  readonly total: number;
  /** What the host itself uses; nothing by default. */
  readonly used?: number;
  /** What ZFS caches, which is in nobody's available memory, and what of it ZFS keeps; none by default. */
  readonly arc?: number;
  readonly arcMinimum?: number;
  /** Size of the pool of huge pages; none by default. */
  readonly hugePages?: number;
  /** Limit of the cgroup that all guests are in; none by default. */
  readonly cgroup?: number;
  readonly guests: readonly GuestSpec[];
  /** Turns of the event loop before time passes (clock.ts). */
  readonly turns?: number;
  /** Of what is left to chance. */
  readonly seed?: number;
}

/** libvirt's daemon: it answers, hangs, or is gone. */
export type Daemon = 'up' | 'hung' | 'down';

/** A target that has been stored, and what was before. KiB. */
export interface Stored {
  readonly guest: SimGuest;
  /** `late`: by a call of the coordinator's that had not come back in time. */
  readonly by: 'coordinator' | 'late' | 'other';
  readonly target: number;
  readonly charge: number;
}

export class SimHost {
  readonly total: number;
  readonly seed: number;
  /** What the host itself uses. */
  used: number;
  /** What ZFS caches now. */
  arc: number;
  readonly arcMinimum: number;
  readonly hugePages: number;
  readonly guests: SimGuest[] = [];
  /** Those and all that have gone, in the order of their starts. */
  readonly everyone: SimGuest[] = [];
  /** Guests whose QEMU was killed because the host ran out of memory. */
  kills = 0;
  pressure = false;
  daemon: Daemon = 'up';
  /** True: the daemon answers no list of guests, though it answers calls on each of them. */
  listsWait = false;
  /** Called after every step of the guests' lives. */
  onStep: (host: SimHost) => void = () => {};
  /** Called when a target has been stored. */
  onTarget: (stored: Stored) => void = () => {};
  /** Called when a guest runs out of memory, or is killed by the host. */
  onKill: (guest: SimGuest, by: Killer) => void = () => {};
  readonly time: Time;
  readonly connect: () => Promise<Hypervisor>;
  readonly #clock: SimClock;
  readonly #cgroup: number;
  #ids = 1;
  /** Since when the host has had nothing left. */
  #outSince: number | null = null;
  #livedAt = 0;
  /** How far the wall clock was set, ms. */
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

  /** MemAvailable: what is neither the host's own nor a guest's. Pages of files count as available, those of guests as well. */
  get memAvailable(): number {
    return this.#free + this.guests.reduce((sum, guest) => sum + guest.rssFile, 0);
  }

  /** What the cgroup of the guests still takes, as a reader of its files would count; null where there is none. */
  get cgroupRoom(): number | null {
    if (!Number.isFinite(this.#cgroup)) return null;
    return this.#cgroup - this.guests.reduce((sum, guest) => sum + guest.rss - guest.rssFile, 0);
  }

  /**
   * What guests can still get, in truth: what ZFS would give back included; what a guest has in a file is its own, since to take it is to
   * stop the guest.
   */
  get available(): number {
    const held = this.#held;
    return Math.min(this.total - this.used - this.arcMinimum - this.hugePages - held, this.#cgroup - held);
  }

  /** What can be had at once. */
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

  /** A guest that is there, or, with `boots`, one that is being started. */
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

  /** Somebody else sets a guest's memory. */
  set(name: string, kib: number): void {
    this.store(this.guest(name), kib, 'other');
  }

  store(guest: SimGuest, kib: number, by: Stored['by']): void {
    const { target, charge } = guest;
    if (by === 'other') guest.leastHad = Math.min(guest.leastHad, kib);
    guest.setTarget(kib);
    this.onTarget({ guest, by, target, charge });
  }

  /** Sets the wall clock by so much, ms. */
  setClock(by: number): void {
    this.#clockSet += by;
    for (const guest of this.guests) guest.clockSet = this.#clockSet;
  }

  /** All connections of a daemon that ends are lost. */
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

  /** Has `what` done when `ms` have passed since the start. */
  at(ms: number, what: () => void): void {
    this.#clock.at(ms, what);
  }

  /** Has `what` done as soon as `ready`. */
  once(ready: () => boolean, what: () => void): void {
    this.#awaited.push({ ready, what });
  }

  /** Lets `ms` pass; whoever sleeps on `time` is woken when its moment comes. */
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

  /** Without memory the kernel ends the largest of the guests' processes, and libvirt the guest with it. */
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
