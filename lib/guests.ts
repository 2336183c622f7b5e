/** What a coordinator keeps of the guests beside the model: their facts and settings, and the stats periods that it has set. */
import type { Config } from './config.js';
import { guestOverrides, isIncluded } from './config.js';
import type { DomainFacts, Hypervisor } from './hypervisor.js';
import { parseMetadata } from './metadata.js';
import type { GuestContext, GuestOverrides, Notice } from './policy/types.js';
import type { SavedPeriods, State } from './state.js';
import type { GuestIdentity } from './sweep.js';
import { guestWord, shellQuoted } from './text.js';
import type { Time } from './time.js';

/** A wait for libvirt that is longer than any healthy answer and shorter than a person's patience. */
export const CONTROL_DEADLINE_MS = 2000;
/** Pauses between tries of what fails, ms: doubled each time. */
export const FIRST_RETRY_MS = 500;
export const LAST_RETRY_MS = 30_000;

interface Known {
  readonly id: number;
  readonly context: GuestContext;
  /** Stats periods, seconds: before a coordinator came, and what it set; null = not changed. */
  readonly changed: { readonly original: number; readonly set: number } | null;
  /** When it is to be described and set up again because something failed or changed; Infinity = not. */
  readonly retryAt: number;
  /** Pause until the try after that, ms. */
  readonly pause: number;
}

export interface GuestBookOptions {
  readonly config: () => Config;
  readonly dryRun: boolean;
  readonly time: Time;
  readonly tell: (notice: Notice) => void;
}

export class GuestBook {
  readonly #options: GuestBookOptions;
  #known = new Map<string, Known>();
  /** The contexts of those that are known. */
  readonly #contexts = new Map<string, GuestContext>();
  /** The sweep's guests that were met last, and when one of them is to be met again. */
  #met: readonly GuestIdentity[] | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  /** Period calls under way, by guest: no look waits for them, since a guest that hangs must not hold up the others (rule 10). */
  #setting = new Map<string, Promise<void>>();
  #state: State | null = null;
  /** What the last coordinator of this host left behind. */
  #left: SavedPeriods = new Map();
  /** Goes up when what is known of guests may be out of date: what was being read meanwhile is then read again. */
  #generation = 0;

  constructor(options: GuestBookOptions) {
    this.#options = options;
  }

  /** Keeps on disk what a crash must not lose, and learns what one has left. */
  async remember(state: State): Promise<void> {
    this.#state = state;
    this.#left = await state.load();
  }

  /** What the policy is told of each guest, by uuid: a view that is always up to date. */
  get contexts(): ReadonlyMap<string, GuestContext> {
    return this.#contexts;
  }

  /** What is known of the guests stays in force until it has been read again, at the next look. */
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
  async meet(hypervisor: Hypervisor, guests: readonly GuestIdentity[]): Promise<void> {
    const now = this.#options.time.now();
    if (guests === this.#met && now < this.#dueAt) return;
    this.#met = null;
    this.#dueAt = Number.POSITIVE_INFINITY;
    const here = new Set(guests.map(({ uuid }) => uuid));
    for (const uuid of this.#known.keys()) if (!here.has(uuid)) this.#drop(uuid);
    const strangers = guests.filter(({ uuid, id }) => {
      const known = this.#known.get(uuid);
      if (known === undefined || known.id !== id || now >= known.retryAt) return true;
      this.#dueAt = Math.min(this.#dueAt, known.retryAt);
      return false;
    });
    await Promise.all(strangers.map((guest) => this.#introduce(hypervisor, guest)));
    this.#met = guests;
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

  async #introduce(hypervisor: Hypervisor, { uuid, name, id }: GuestIdentity): Promise<void> {
    const generation = this.#generation;
    const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
    const before = this.#known.get(uuid);
    if (facts === null) {
      // What was known of this start of the guest holds on: settings and obstacles do not go away because libvirt does not answer.
      const context = before?.id === id ? before.context : contextOf(name, null, this.#options.config()).context;
      this.#learn(uuid, this.#later({ id, context, changed: before?.changed ?? null }, before));
      return;
    }
    const { context, problems } = contextOf(name, facts, this.#options.config());
    for (const problem of problems) {
      this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message: `${name}: ${problem}` });
    }
    const retryAt = generation === this.#generation ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    const changed = before?.changed ?? this.#leftBehind(uuid, id, facts.statsPeriod);
    const known: Known = { id, context, changed, retryAt, pause: before?.pause ?? FIRST_RETRY_MS };
    this.#learn(uuid, known);
    const wanted = Math.max(1, Math.round(this.#options.config().intervalMs / 1000));
    const coordinated = context.included && context.overrides.manage !== false && facts.balloonModel !== 'none';
    if (!coordinated || facts.statsPeriod === wanted) return;
    if (!this.#options.dryRun)
      return this.#switchOn(hypervisor, uuid, wanted, {
        ...known,
        changed: { original: changed?.original ?? facts.statsPeriod, set: wanted },
      });
    if (facts.statsPeriod > 0) return;
    const message = `${name} reports no figures, since its stats period is 0; a run would set it, or: virsh dommemstat ${shellQuoted(guestWord(name, uuid))} --period ${wanted} --live`;
    this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message });
  }

  /** A period that is neither what the last coordinator set nor off, as in the middle of a refresh, was set by somebody else since. */
  #leftBehind(uuid: string, id: number, period: number): Known['changed'] {
    const left = this.#left.get(uuid);
    return left?.id === id && (period === left.set || period === 0) ? { original: left.original, set: left.set } : null;
  }

  async #save(): Promise<void> {
    if (this.#state === null) return;
    const changed = [...this.#known].flatMap(([uuid, { id, changed }]) => (changed === null ? [] : [[uuid, { id, ...changed }] as const]));
    await this.#state.save(new Map(changed));
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

  /** Gives the guests the stats periods back that they had before us. */
  async putBack(hypervisor: Hypervisor): Promise<void> {
    await Promise.all(this.#setting.values());
    await Promise.all(
      [...this.#known].map(async ([uuid, known]) => {
        if (known.changed === null) return;
        try {
          await hypervisor.setStatsPeriod(uuid, known.changed.original, { deadlineMs: CONTROL_DEADLINE_MS });
          this.#learn(uuid, { ...known, changed: null });
        } catch {
          // The guest may be gone by now; else what is on disk is for the next coordinator.
        }
      }),
    );
    await this.#save();
  }
}

/** What the policy is told of a guest, out of its XML, its metadata and the configuration: the metadata comes first. */
export function contextOf(name: string, facts: DomainFacts | null, config: Config): { context: GuestContext; problems: readonly string[] } {
  const { overrides, problems } = parseMetadata(facts?.metadata ?? null);
  const merged: GuestOverrides = { ...guestOverrides(config, name), ...overrides };
  return { context: { facts, overrides: merged, included: isIncluded(config, name), statsPeriod: facts?.statsPeriod ?? 0 }, problems };
}
