/** A simulated host: guests, the memory that they share, and what befalls them. Memory is conserved. */

import type { Time } from '../common/time.js';
import type { Hypervisor, HypervisorEvent } from '../hypervisor.js';
import { SimClock } from './clock.js';
import { connectTo } from './connection.js';
import { BOOT_MS, type GuestSpec, SimGuest } from './guest.js';

export interface HostSpec {
  readonly total: number;
  /** What the host itself uses; nothing by default. */
  readonly used?: number;
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
  readonly guests: SimGuest[] = [];
  pressure = false;
  daemon: Daemon = 'up';
  /** Called after every step of the guests' lives. */
  onStep: (host: SimHost) => void = () => {};
  /** Called when a target has been stored. */
  onTarget: (stored: Stored) => void = () => {};
  /** Called when a guest runs out of memory. */
  onKill: (guest: SimGuest) => void = () => {};
  readonly time: Time;
  readonly connect: () => Promise<Hypervisor>;
  readonly #clock: SimClock;
  #ids = 1;
  /** How far the wall clock was set, ms. */
  #clockSet = 0;
  #listeners = new Set<(event: HypervisorEvent) => void>();
  #awaited: { readonly ready: () => boolean; readonly what: () => void }[] = [];

  constructor({ total, used = 0, guests, turns, seed = 1 }: HostSpec) {
    this.total = total;
    this.used = used;
    this.seed = seed;
    this.#clock = new SimClock(() => this.#live(), turns);
    this.time = this.#clock;
    this.connect = connectTo(this, this.#clock);
    for (const spec of guests) this.start(spec);
  }

  get now(): number {
    return this.#clock.now();
  }

  /** What is neither the host's own nor a guest's. */
  get available(): number {
    return this.total - this.used - this.guests.reduce((sum, guest) => sum + guest.rss, 0);
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
    const uuid = `00000000-0000-4000-8000-${id.toString(16).padStart(12, '0')}`;
    const guest = new SimGuest(spec, uuid, id, this.now, boots ? BOOT_MS : 0);
    guest.clockSet = this.#clockSet;
    guest.onKill = () => this.onKill(guest);
    this.guests.push(guest);
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
    for (const guest of this.guests) guest.live(this.now);
    if (this.#awaited.length > 0) {
      const due = this.#awaited.filter(({ ready }) => ready());
      this.#awaited = this.#awaited.filter((each) => !due.includes(each));
      for (const { what } of due) what();
    }
    this.onStep(this);
  }
}
