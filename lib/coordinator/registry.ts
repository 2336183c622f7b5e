/**
 * What a coordinator knows of the guests besides the model: their facts and settings, the stats periods that it has set, and what must
 * outlive it.
 */

import { guestWord, shellQuoted } from '../common/text.js';
import type { Time } from '../common/time.js';
import type { Config } from '../config/config.js';
import { guestOverrides, isIncluded } from '../config/config.js';
import { parseMetadata } from '../config/metadata.js';
import { type DomainFacts, type Hypervisor, hasBalloon } from '../hypervisor.js';
import type { Belief } from '../policy/guest.js';
import { SAME } from '../policy/limits.js';
import { remember } from '../policy/readings.js';
import type { GuestContext, GuestOverrides } from '../policy/types.js';
import { figureOf, type GuestIdentity, JOB, READ, STATUS, type Sweep } from '../sweep.js';
import type { Notice } from './messages.js';
import { type SavedGuest, type SavedGuests, type State, withoutTimes } from './state.js';

/** A wait for libvirt that is longer than any healthy answer and shorter than a person's patience. */
export const CONTROL_DEADLINE_MS = 2000;
/** Pauses before retries, ms: doubled each time. */
export const FIRST_RETRY_MS = 500;
export const LAST_RETRY_MS = 30_000;
/** Least time between two writes of the state file, ms. */
const NOTE_PAUSE_MS = 1000;
/** Most guests that are asleep, the latest: one that was destroyed after memcoord had ended is never heard of again. */
const MOST_ASLEEP = 1000;
/** Longest stats period that is set, seconds: older figures are useless, however rarely guests are sampled. */
const LONGEST_PERIOD = 5;

/** virtio-mem grows and shrinks without an event that reaches us: the plugged size is read again after this time, ms. */
const PLUGGED_AGAIN_MS = 30_000;

interface Known {
  readonly id: number;
  readonly context: GuestContext;
  /** Stats periods, seconds: the original one, and the one that we set and refresh with; null = left alone. */
  readonly changed: { readonly original: number; readonly set: number } | null;
  /** When to describe and set up the guest again, because something failed or may have changed; Infinity = never. */
  readonly retryAt: number;
  /** Pause before the retry after that, ms. */
  readonly pause: number;
}

export interface GuestRegistryOptions {
  readonly config: () => Config;
  readonly dryRun: boolean;
  readonly time: Time;
  /** The current beliefs about the guests. */
  readonly beliefs: () => readonly Belief[];
  readonly tell: (notice: Notice) => void;
}

export class GuestRegistry {
  readonly #options: GuestRegistryOptions;
  #known = new Map<string, Known>();
  /** Contexts of the known guests. */
  readonly #contexts = new Map<string, GuestContext>();
  /** UUIDs of guests that libvirt lets nobody change, as it migrates, saves, dumps or snapshots them. */
  readonly #held = new Set<string>();
  /** Guests of the sweep that was discovered last, and when one of them must be discovered again. */
  #discovered: readonly GuestIdentity[] | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  /** Stats period calls under way, by guest: no sample waits for them, since a guest that hangs must not hold up the others (rule 10). */
  #setting = new Map<string, Promise<void>>();
  #state: State | null = null;
  /**
   * What an earlier coordinator, or we before a connection was lost, knew of guests, until newer beliefs replace it; and what was known of
   * guests that are asleep.
   */
  readonly #left = new Map<string, SavedGuest>();
  /** What was known of the guests that the last sweep has missed: the event that says why may come later. */
  #departed: SavedGuests = new Map();
  /** Whether anything is on disk of guests that are asleep. */
  #kept = false;
  /** Ends the pause before the next write; null if none is scheduled. */
  #hurry: (() => void) | null = null;
  #notedAt = Number.NEGATIVE_INFINITY;
  /** Increases when what is known of guests may be out of date: what was being read meanwhile is then read again. */
  #generation = 0;

  constructor(options: GuestRegistryOptions) {
    this.#options = options;
  }

  /** Loads what an earlier coordinator left, and keeps there what a crash must not lose. A dry run writes nothing. */
  async remember(state: State): Promise<void> {
    if (!this.#options.dryRun) this.#state = state;
    for (const [uuid, left] of await state.load()) {
      this.#left.set(uuid, left);
      this.#kept ||= left.asleep === true;
    }
  }

  /** To be called before the beliefs are dropped: keeps what stays valid of them. */
  keepBeliefs(): void {
    for (const [uuid, saved] of this.#saved()) this.#left.set(uuid, saved);
  }

  /** What the policy knows of each guest besides its figures, by UUID: a live view. */
  get contexts(): ReadonlyMap<string, GuestContext> {
    return this.#contexts;
  }

  /** Has all guests read again at the next sample. Until then what is known of them stays in force. */
  forgetAll(): void {
    this.#generation++;
    for (const uuid of this.#known.keys()) this.forget(uuid);
  }

  /** The same for one guest. */
  forget(uuid: string): void {
    const known = this.#known.get(uuid);
    if (known !== undefined) this.#learn(uuid, { ...known, retryAt: Number.NEGATIVE_INFINITY });
  }

  /** To be called when libvirt has saved a guest: it will be started again with the balloon and the stats period that it has now. */
  sleeps(uuid: string): void {
    const last = this.#saved().get(uuid) ?? this.#departed.get(uuid);
    if (last === undefined) return;
    this.#left.delete(uuid);
    this.#left.set(uuid, { ...withoutTimes(last), asleep: true });
    void this.#save();
    void this.#keep();
  }

  /** To be called when a guest boots: what was known of it before is over. */
  boots(uuid: string): void {
    if (this.#left.get(uuid)?.asleep === true) this.#left.delete(uuid);
  }

  /** Reads the facts of guests that are new or may have changed, switches their figures on, forgets those that are gone. */
  async discover(hypervisor: Hypervisor, sweep: Sweep): Promise<void> {
    const { guests } = sweep;
    const now = this.#options.time.now();
    this.#noteHeld(sweep);
    if (guests === this.#discovered && now < this.#dueAt) return;
    this.#discovered = null;
    this.#dueAt = Number.POSITIVE_INFINITY;
    const here = new Set(guests.map(({ uuid }) => uuid));
    const gone = [...this.#known.keys()].filter((uuid) => !here.has(uuid));
    if (gone.length > 0) {
      const saved = this.#saved();
      this.#departed = new Map([...saved].filter(([uuid]) => !here.has(uuid)));
      for (const uuid of gone) this.#drop(uuid);
    }
    for (const [uuid, { asleep }] of this.#left) if (!here.has(uuid) && asleep !== true) this.#left.delete(uuid);
    const strangers = guests.filter(({ uuid, id }) => {
      const known = this.#known.get(uuid);
      if (known === undefined || known.id !== id || now >= known.retryAt) return true;
      this.#dueAt = Math.min(this.#dueAt, known.retryAt);
      return false;
    });
    await Promise.all(strangers.map((guest) => this.#register(hypervisor, guest)));
    this.#discovered = guests;
  }

  /** A guest that is no longer held is set up at once. */
  #noteHeld(sweep: Sweep): void {
    for (const [row, { uuid }] of sweep.guests.entries()) {
      if (figureOf(sweep, row, STATUS) !== READ) continue;
      if (!Number.isNaN(figureOf(sweep, row, JOB))) this.#held.add(uuid);
      else if (this.#held.delete(uuid)) this.forget(uuid);
    }
  }

  #learn(uuid: string, known: Known): void {
    this.#known.set(uuid, known);
    this.#contexts.set(uuid, known.context);
    this.#dueAt = Math.min(this.#dueAt, known.retryAt);
  }

  #drop(uuid: string): void {
    this.#known.delete(uuid);
    this.#contexts.delete(uuid);
    this.#held.delete(uuid);
  }

  async #register(hypervisor: Hypervisor, { uuid, name, id }: GuestIdentity): Promise<void> {
    const generation = this.#generation;
    const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
    const before = this.#known.get(uuid);
    if (facts === null) {
      // What was known of this start of the guest stays valid: settings and obstacles do not go away because libvirt does not answer.
      const context = before?.id === id ? before.context : contextOf(name, null, this.#options.config()).context;
      this.#learn(
        uuid,
        this.#later({ id, context: recalled(context, this.#left.get(uuid), id), changed: before?.changed ?? null }, before),
      );
      return;
    }
    this.#claim(uuid, id, facts);
    const { context, problems } = contextOf(name, facts, this.#options.config());
    for (const problem of problems) {
      this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message: `${name}: ${problem}` });
    }
    const dueAt = facts.obstacles.includes('virtio-mem') ? this.#options.time.now() + PLUGGED_AGAIN_MS : Number.POSITIVE_INFINITY;
    const retryAt = generation === this.#generation ? dueAt : Number.NEGATIVE_INFINITY;
    const wanted = Math.min(LONGEST_PERIOD, Math.max(1, Math.round(this.#options.config().intervalMs / 1000)));
    const coordinated = context.included && context.overrides.manage !== false && hasBalloon(facts);
    const noted = before?.id === id ? before.changed : this.#leftBehind(uuid, id, facts.statsPeriod);
    // The original is noted once, before the first change: later it may be read as 0, in the middle of a refresh. Any other period was set
    // by somebody else since.
    const original = noted !== null && [0, noted.set].includes(facts.statsPeriod) ? noted.original : facts.statsPeriod;
    // Rule 9. The call would only wait for the job.
    const held = this.#held.has(uuid);
    const changed = coordinated && !held && !this.#options.dryRun ? { original, set: wanted } : noted;
    const known: Known = {
      id,
      context: recalled(context, this.#left.get(uuid), id),
      changed,
      retryAt,
      pause: before?.pause ?? FIRST_RETRY_MS,
    };
    this.#learn(uuid, known);
    if (!coordinated || held || facts.statsPeriod === wanted) return;
    if (!this.#options.dryRun) return this.#switchOn(hypervisor, uuid, wanted, known);
    if (facts.statsPeriod > 0) return;
    const message = `${name} reports no figures, since its stats period is 0; a run would set it, or: virsh dommemstat ${shellQuoted(guestWord(name, uuid))} --period ${wanted} --live`;
    this.#options.tell({ kind: 'settings', level: 'warn', guest: name, uuid, message });
  }

  /**
   * Of another start of a guest: its entry stays valid if libvirt has saved and restored the guest in between. Then its balloon has the size
   * of then; a guest that has booted has what its definition says.
   */
  #claim(uuid: string, id: number, { current }: DomainFacts): void {
    const left = this.#left.get(uuid);
    if (left === undefined || left.id === id) return;
    const { period, balloon } = withoutTimes(left);
    if (balloon !== null && Math.abs(balloon.target - current) <= SAME) this.#left.set(uuid, { id, period, balloon });
    else this.#left.delete(uuid);
  }

  /** The periods noted by the last coordinator; null if somebody else has set the period since. 0 may be the middle of a refresh. */
  #leftBehind(uuid: string, id: number, period: number): Known['changed'] {
    const left = this.#left.get(uuid);
    return left?.id === id && left.period !== null && (period === left.period.set || period === 0) ? left.period : null;
  }

  #saved(): SavedGuests {
    const saved = new Map(this.#left);
    for (const [uuid, { id, changed }] of this.#known) {
      const left = this.#left.get(uuid);
      // A list that is late may still name it.
      if (left?.asleep === true && left.id === id) continue;
      saved.set(uuid, { id, period: changed, balloon: left?.id === id ? left.balloon : null });
    }
    for (const belief of this.#options.beliefs()) {
      const guest = saved.get(belief.uuid);
      if (guest?.id === belief.id && guest.asleep !== true)
        saved.set(belief.uuid, { ...guest, balloon: remember(belief) ?? guest.balloon });
    }
    return saved;
  }

  async #save(restored: ReadonlySet<string> = new Set()): Promise<void> {
    if (this.#state === null) return;
    const saved = [...this.#saved()].map(([uuid, guest]) => [uuid, restored.has(uuid) ? { ...guest, balloon: null } : guest] as const);
    await this.#state.save(new Map(saved.filter(([, { period, balloon }]) => period !== null || balloon !== null)));
  }

  /** Writes what must outlive a boot of the host: what is known of guests that are asleep, and of `others` that may soon be. */
  async #keep(others: SavedGuests = new Map()): Promise<void> {
    const asleep = [...this.#left, ...others].filter(([, { asleep }]) => asleep === true);
    if (asleep.length === 0 && !this.#kept) return;
    this.#kept = asleep.length > 0;
    await this.#state?.keep?.(new Map(asleep.slice(-MOST_ASLEEP)));
  }

  /** Schedules a write of the state file: once a second at most, and no sample waits for it. */
  note(): void {
    if (this.#state === null || this.#hurry !== null) return;
    const { time } = this.#options;
    const { done, wake } = time.sleep(Math.max(0, this.#notedAt + NOTE_PAUSE_MS - time.now()));
    this.#hurry = wake;
    void done.then(() => {
      // putBack() has cancelled this write, and makes the last one itself.
      if (this.#hurry !== wake) return;
      this.#hurry = null;
      this.#notedAt = time.now();
      return this.#save();
    });
  }

  /**
   * Sets the stats period without waiting for the call. The original is saved first, here and on disk: a call that times out may still take
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

  /** Adds a retry, each time after a longer pause. */
  #later(known: Omit<Known, 'retryAt' | 'pause'>, before: Known | undefined): Known {
    const pause = before?.pause ?? FIRST_RETRY_MS;
    return { ...known, retryAt: this.#options.time.now() + pause, pause: Math.min(2 * pause, LAST_RETRY_MS) };
  }

  /**
   * Restores the guests' original stats periods, and saves what the next coordinator must know.
   *
   * @param hypervisor null if there is no connection: then the periods stay on disk for the next coordinator
   * @param restored UUIDs of guests that have their original size again: nothing of their balloons is saved
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
          // The guest may be gone by now. If not, the next coordinator finds its period on disk.
        }
      }),
    );
    await this.#save(restored);
    // A host that goes down saves its guests after we have ended.
    const others = [...this.#saved()].filter(([uuid, { balloon }]) => balloon !== null && !restored.has(uuid));
    await this.#keep(new Map(others.map(([uuid, saved]) => [uuid, { ...withoutTimes(saved), asleep: true }])));
  }
}

/** What the policy knows of a guest from its XML, its metadata and the configuration. The metadata wins over the configuration. */
export function contextOf(name: string, facts: DomainFacts | null, config: Config): { context: GuestContext; problems: readonly string[] } {
  const { overrides, problems } = parseMetadata(facts?.metadata ?? null);
  const merged: GuestOverrides = { ...guestOverrides(config, name), ...overrides };
  return { context: { facts, overrides: merged, included: isIncluded(config, name), statsPeriod: facts?.statsPeriod ?? 0 }, problems };
}

/** The context with what an earlier coordinator noted (`left`) of the same start of the guest. */
export function recalled(context: GuestContext, left: SavedGuest | undefined, id: number): GuestContext {
  return left?.id === id && left.balloon !== null ? { ...context, remembered: left.balloon } : context;
}
