/**
 * What a coordinator keeps of the guests beside the model: their facts and settings, the stats periods that it has set, and what must
 * outlive it.
 */

import { guestWord, shellQuoted } from '../common/text.js';
import type { Time } from '../common/time.js';
import type { Config } from '../config/config.js';
import { guestOverrides, isIncluded } from '../config/config.js';
import { parseMetadata } from '../config/metadata.js';
import { type DomainFacts, type Hypervisor, hasBalloon } from '../hypervisor.js';
import type { Belief } from '../policy/guest.js';
import { remember } from '../policy/readings.js';
import type { GuestContext, GuestOverrides } from '../policy/types.js';
import type { GuestIdentity } from '../sweep.js';
import type { Notice } from './messages.js';
import type { SavedGuest, SavedGuests, State } from './state.js';

/** A wait for libvirt that is longer than any healthy answer and shorter than a person's patience. */
export const CONTROL_DEADLINE_MS = 2000;
/** Pauses between tries of what fails, ms: doubled each time. */
export const FIRST_RETRY_MS = 500;
export const LAST_RETRY_MS = 30_000;
/** Least time between two notes on disk of what is believed of the guests, ms. */
const NOTE_PAUSE_MS = 1000;
/** Longest stats period that is set, seconds: figures that are older are good for nothing, however rarely guests are sampled. */
const LONGEST_PERIOD = 5;

/** virtio-mem grows and shrinks without an event that is heard: how much is plugged is read anew after this time, ms. */
const PLUGGED_AGAIN_MS = 30_000;

interface Known {
  readonly id: number;
  readonly context: GuestContext;
  /** Stats periods, seconds: before a coordinator came, and what it sets, or refreshes with; null = left alone. */
  readonly changed: { readonly original: number; readonly set: number } | null;
  /** When it is to be described and set up again because something failed, changed or may have changed; Infinity = not. */
  readonly retryAt: number;
  /** Pause until the try after that, ms. */
  readonly pause: number;
}

export interface GuestRegistryOptions {
  readonly config: () => Config;
  readonly dryRun: boolean;
  readonly time: Time;
  /** What is believed of the guests right now. */
  readonly beliefs: () => readonly Belief[];
  readonly tell: (notice: Notice) => void;
}

export class GuestRegistry {
  readonly #options: GuestRegistryOptions;
  #known = new Map<string, Known>();
  /** The contexts of those that are known. */
  readonly #contexts = new Map<string, GuestContext>();
  /** The sweep's guests that were discovered last, and when one of them is to be discovered again. */
  #discovered: readonly GuestIdentity[] | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  /** Period calls under way, by guest: no sample waits for them, since a guest that hangs must not hold up the others (rule 10). */
  #setting = new Map<string, Promise<void>>();
  #state: State | null = null;
  /** What a coordinator before us, or we before a connection was lost, knew of the guests that are not believed otherwise by now. */
  readonly #left = new Map<string, SavedGuest>();
  /** Lets the next note on disk be written at once; null where none is to come. */
  #hurry: (() => void) | null = null;
  #notedAt = Number.NEGATIVE_INFINITY;
  /** Goes up when what is known of guests may be out of date: what was being read meanwhile is then read again. */
  #generation = 0;

  constructor(options: GuestRegistryOptions) {
    this.#options = options;
  }

  /** Keeps on disk what a crash must not lose, and learns what one has left. In a dry run nothing is written. */
  async remember(state: State): Promise<void> {
    if (!this.#options.dryRun) this.#state = state;
    for (const [uuid, left] of await state.load()) this.#left.set(uuid, left);
  }

  /** What is believed of the guests is about to be forgotten: what of it holds on is kept. */
  keepBeliefs(): void {
    for (const [uuid, saved] of this.#saved()) this.#left.set(uuid, saved);
  }

  /** What the policy knows of each guest beside its figures, by uuid: a view that is always up to date. */
  get contexts(): ReadonlyMap<string, GuestContext> {
    return this.#contexts;
  }

  /** What is known of the guests stays in force until it has been read again, at the next sample. */
  forgetAll(): void {
    this.#generation++;
    for (const uuid of this.#known.keys()) this.forget(uuid);
  }

  /** The same for one guest. */
  forget(uuid: string): void {
    const known = this.#known.get(uuid);
    if (known !== undefined) this.#learn(uuid, { ...known, retryAt: Number.NEGATIVE_INFINITY });
  }

  /** Learns the facts of guests that are new or may have changed, switches their figures on, forgets those that are gone. */
  async discover(hypervisor: Hypervisor, guests: readonly GuestIdentity[]): Promise<void> {
    const now = this.#options.time.now();
    if (guests === this.#discovered && now < this.#dueAt) return;
    this.#discovered = null;
    this.#dueAt = Number.POSITIVE_INFINITY;
    const here = new Set(guests.map(({ uuid }) => uuid));
    for (const uuid of this.#known.keys()) if (!here.has(uuid)) this.#drop(uuid);
    for (const uuid of this.#left.keys()) if (!here.has(uuid)) this.#left.delete(uuid);
    const strangers = guests.filter(({ uuid, id }) => {
      const known = this.#known.get(uuid);
      if (known === undefined || known.id !== id || now >= known.retryAt) return true;
      this.#dueAt = Math.min(this.#dueAt, known.retryAt);
      return false;
    });
    await Promise.all(strangers.map((guest) => this.#register(hypervisor, guest)));
    this.#discovered = guests;
  }

  #learn(uuid: string, known: Known): void {
    this.#known.set(uuid, known);
    this.#contexts.set(uuid, known.context);
    this.#dueAt = Math.min(this.#dueAt, known.retryAt);
  }

  #drop(uuid: string): void {
    this.#known.delete(uuid);
    this.#contexts.delete(uuid);
  }

  async #register(hypervisor: Hypervisor, { uuid, name, id }: GuestIdentity): Promise<void> {
    const generation = this.#generation;
    const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
    const before = this.#known.get(uuid);
    if (facts === null) {
      // What was known of this start of the guest holds on: settings and obstacles do not go away because libvirt does not answer.
      const context = before?.id === id ? before.context : contextOf(name, null, this.#options.config()).context;
      this.#learn(
        uuid,
        this.#later({ id, context: recalled(context, this.#left.get(uuid), id), changed: before?.changed ?? null }, before),
      );
      return;
    }
    const { context, problems } = contextOf(name, facts, this.#options.config());
    for (const problem of problems) {
      this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message: `${name}: ${problem}` });
    }
    const dueAt = facts.obstacles.includes('virtio-mem') ? this.#options.time.now() + PLUGGED_AGAIN_MS : Number.POSITIVE_INFINITY;
    const retryAt = generation === this.#generation ? dueAt : Number.NEGATIVE_INFINITY;
    const wanted = Math.min(LONGEST_PERIOD, Math.max(1, Math.round(this.#options.config().intervalMs / 1000)));
    const coordinated = context.included && context.overrides.manage !== false && hasBalloon(facts);
    const noted = before?.id === id ? before.changed : this.#leftBehind(uuid, id, facts.statsPeriod);
    // Noted once, before the first change: later it may be read in the middle of a refresh. A period that is neither is somebody else's since.
    const original = noted !== null && [0, noted.set].includes(facts.statsPeriod) ? noted.original : facts.statsPeriod;
    const changed = coordinated && !this.#options.dryRun ? { original, set: wanted } : noted;
    const known: Known = {
      id,
      context: recalled(context, this.#left.get(uuid), id),
      changed,
      retryAt,
      pause: before?.pause ?? FIRST_RETRY_MS,
    };
    this.#learn(uuid, known);
    if (!coordinated || facts.statsPeriod === wanted) return;
    if (!this.#options.dryRun) return this.#switchOn(hypervisor, uuid, wanted, known);
    if (facts.statsPeriod > 0) return;
    const message = `${name} reports no figures, since its stats period is 0; a run would set it, or: virsh dommemstat ${shellQuoted(guestWord(name, uuid))} --period ${wanted} --live`;
    this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message });
  }

  /** A period that is neither what the last coordinator set nor off, as in the middle of a refresh, was set by somebody else since. */
  #leftBehind(uuid: string, id: number, period: number): Known['changed'] {
    const left = this.#left.get(uuid);
    return left?.id === id && left.period !== null && (period === left.period.set || period === 0) ? left.period : null;
  }

  #saved(): SavedGuests {
    const saved = new Map(this.#left);
    for (const [uuid, { id, changed }] of this.#known) {
      const left = this.#left.get(uuid);
      saved.set(uuid, { id, period: changed, balloon: left?.id === id ? left.balloon : null });
    }
    for (const belief of this.#options.beliefs()) {
      const guest = saved.get(belief.uuid);
      if (guest?.id === belief.id) saved.set(belief.uuid, { ...guest, balloon: remember(belief) ?? guest.balloon });
    }
    return saved;
  }

  async #save(restored: ReadonlySet<string> = new Set()): Promise<void> {
    if (this.#state === null) return;
    const saved = [...this.#saved()].map(([uuid, guest]) => [uuid, restored.has(uuid) ? { ...guest, balloon: null } : guest] as const);
    await this.#state.save(new Map(saved.filter(([, { period, balloon }]) => period !== null || balloon !== null)));
  }

  /** Notes on disk soon what is believed of the guests: once a second at most, and no sample waits for it. */
  note(): void {
    if (this.#state === null || this.#hurry !== null) return;
    const { time } = this.#options;
    const { done, wake } = time.sleep(Math.max(0, this.#notedAt + NOTE_PAUSE_MS - time.now()));
    this.#hurry = wake;
    void done.then(() => {
      // On the way out the last word is not this one.
      if (this.#hurry !== wake) return;
      this.#hurry = null;
      this.#notedAt = time.now();
      return this.#save();
    });
  }

  /**
   * Sets the stats period, without waiting for it. The original is noted before, here and on disk: a call that times out may yet take
   * effect.
   */
  #switchOn(hypervisor: Hypervisor, uuid: string, period: number, known: Known): void {
    if (this.#setting.has(uuid)) {
      // The call under way may be for an earlier start of the guest.
      this.#learn(uuid, { ...known, retryAt: Number.NEGATIVE_INFINITY });
      return;
    }
    this.#learn(uuid, known);
    const call = async () => {
      await this.#save();
      await hypervisor.setStatsPeriod(uuid, period, { deadlineMs: CONTROL_DEADLINE_MS });
    };
    const called = call().then(
      () => this.#change(uuid, known.id, (now) => ({ ...now, context: { ...now.context, statsPeriod: period }, pause: FIRST_RETRY_MS })),
      () => this.#change(uuid, known.id, (now) => this.#later(now, now)),
    );
    this.#setting.set(
      uuid,
      called.finally(() => this.#setting.delete(uuid)),
    );
  }

  #change(uuid: string, id: number, change: (known: Known) => Known): void {
    const known = this.#known.get(uuid);
    if (known?.id === id) this.#learn(uuid, change(known));
  }

  /** To be tried again, each time after a longer pause. */
  #later(known: Omit<Known, 'retryAt' | 'pause'>, before: Known | undefined): Known {
    const pause = before?.pause ?? FIRST_RETRY_MS;
    return { ...known, retryAt: this.#options.time.now() + pause, pause: Math.min(2 * pause, LAST_RETRY_MS) };
  }

  /**
   * Gives the guests the stats periods back that they had before us, and notes what is left to remember.
   *
   * @param hypervisor null where there is no connection: then the periods stay on disk for the next coordinator
   * @param restored guests that have all that they had before us, by uuid: there is nothing to remember of them
   */
  async putBack(hypervisor: Hypervisor | null, restored: ReadonlySet<string> = new Set()): Promise<void> {
    const hurry = this.#hurry;
    this.#hurry = null;
    hurry?.();
    await Promise.all(this.#setting.values());
    await Promise.all(
      [...this.#known].map(async ([uuid, known]) => {
        if (hypervisor === null || known.changed === null) return;
        try {
          await hypervisor.setStatsPeriod(uuid, known.changed.original, { deadlineMs: CONTROL_DEADLINE_MS });
          this.#learn(uuid, { ...known, changed: null });
        } catch {
          // The guest may be gone by now; else what is on disk is for the next coordinator.
        }
      }),
    );
    await this.#save(restored);
  }
}

/** What the policy knows of a guest out of its XML, its metadata and the configuration: the metadata comes first. */
export function contextOf(name: string, facts: DomainFacts | null, config: Config): { context: GuestContext; problems: readonly string[] } {
  const { overrides, problems } = parseMetadata(facts?.metadata ?? null);
  const merged: GuestOverrides = { ...guestOverrides(config, name), ...overrides };
  return { context: { facts, overrides: merged, included: isIncluded(config, name), statsPeriod: facts?.statsPeriod ?? 0 }, problems };
}

/** The context with what a coordinator has noted (`left`) of the same start of the guest. */
export function recalled(context: GuestContext, left: SavedGuest | undefined, id: number): GuestContext {
  return left?.id === id && left.balloon !== null ? { ...context, remembered: left.balloon } : context;
}
