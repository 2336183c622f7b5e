/** The loop: look → plan → move → tell. All decisions are the policy's; all that touches the world is the hypervisor's. */
import { EventEmitter } from 'node:events';
import { type Config, guestOverrides, isIncluded } from './config.js';
import type { DomainFacts, Hypervisor, HypervisorEvent } from './hypervisor.js';
import { parseMetadata } from './metadata.js';
import { type NextLook, nextLook } from './policy/eyes.js';
import { LEAST_LOOK } from './policy/limits.js';
import { EMPTY_MODEL, type HostState, type Model, spareNow } from './policy/model.js';
import { ordered } from './policy/orders.js';
import { type Plan, plan } from './policy/plan.js';
import type { GuestContext, GuestOverrides, Look, Move, Notice, Phase, Reason } from './policy/types.js';
import { type GuestIdentity, LAST_UPDATE, STRIDE, type Sweep } from './sweep.js';
import { machineTime, type Time } from './time.js';

/** A move and what became of it. */
export interface MoveOutcome extends Move {
  /** False in a dry run, and where `error` says why. */
  readonly applied: boolean;
  readonly error?: Error;
}

/** A guest as people see it. Sizes KiB; NaN = not known. */
export interface GuestView {
  readonly uuid: string;
  readonly name: string;
  readonly phase: Phase;
  readonly actual: number;
  readonly target: number;
  readonly unused: number;
  readonly usable: number;
  readonly used: number;
  readonly spare: number;
  readonly need: number;
  readonly allocation: number;
  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  /** KiB/s. */
  readonly trend: number;
  readonly maximum: number;
  /** Burst that it would survive right now, KiB/s. */
  readonly survivableBurst: number;
  /** Age of its figures, ms. */
  readonly statsAge: number;
  readonly lastReason: Reason | null;
  /** Why it is not coordinated, if so. */
  readonly why: string | null;
}

/** Host and guests at one look. Sizes KiB. */
export interface Snapshot {
  /** Wall clock, ms since 1970. */
  readonly at: number;
  readonly host: {
    readonly total: number;
    readonly available: number;
    readonly capacity: number;
    readonly charged: number;
    /** capacity − charged. */
    readonly free: number;
    readonly pool: number | null;
    readonly reserve: number;
    readonly overhead: number;
    readonly state: HostState;
    readonly pressure: boolean;
  };
  readonly guests: readonly GuestView[];
}

export interface CoordinatorEvents {
  look: [Snapshot];
  move: [MoveOutcome];
  notice: [Notice];
  /** The connection was lost or could not be made; it is tried again. */
  lost: [Error];
  /** Connected, for the first time or again; with the URI. */
  connected: [string];
  /** All that the plan of one look was made from, and its moves: plain data, for a recording. */
  record: [Readonly<Record<string, unknown>>];
}

export interface CoordinatorOptions {
  /** Called to connect, and again whenever the connection is lost. */
  readonly connect: () => Promise<Hypervisor>;
  readonly config: Config;
  /** Say what would be done and change nothing, stats periods included. */
  readonly dryRun?: boolean;
  /** The machine's by default; a simulated host brings its own. */
  readonly time?: Time;
}

/** A wait for libvirt that is longer than any healthy answer and shorter than a person's patience. */
const CONTROL_DEADLINE_MS = 2000;
const CLOSE_DEADLINE_MS = 3000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;
/** A dry run tells a would-be move again only where it differs by this much, KiB. */
const DRY_RUN_GRAIN = 16 * 1024;

/** What the coordinator keeps of a guest beside the model. */
interface Known {
  readonly id: number;
  readonly context: GuestContext;
  /** Stats period before we came, seconds; null = not changed by us. */
  readonly originalPeriod: number | null;
  /** When it is to be described and set up again because something failed or changed; Infinity = not. */
  readonly retryAt: number;
  /** Pause until the try after that, ms. */
  readonly pause: number;
}

/**
 * Coordinates the guests of one host until it is stopped.
 *
 * `start` resolves after the first look and rejects where libvirt cannot be reached. Later losses are told by `lost` and
 * repaired by connecting again, for ever. Listen to `move` and `notice` to know what it does and why.
 */
export class Coordinator extends EventEmitter<CoordinatorEvents> {
  readonly #connect: () => Promise<Hypervisor>;
  readonly #dryRun: boolean;
  readonly #time: Time;
  #config: Config;
  #hypervisor: Hypervisor | null = null;
  #model: Model = EMPTY_MODEL;
  #known = new Map<string, Known>();
  #rebooted = new Set<string>();
  #rehearsed = new Map<string, Move>();
  #snapshot: Snapshot | null = null;
  #sweepAt = Number.NEGATIVE_INFINITY;
  /** Period calls under way, by guest: no look waits for them, since a guest that hangs must not hold up the others (rule 10). */
  #setting = new Map<string, Promise<void>>();
  /** Goes up when what is known of guests may be out of date: what was being read meanwhile is then read again. */
  #generation = 0;
  #off: () => void = () => {};
  #stopping = false;
  #lost = false;
  #toldEmpty = false;
  #wake: () => void = () => {};
  #loop: Promise<void> = Promise.resolve();

  constructor({ connect, config, dryRun = false, time = machineTime }: CoordinatorOptions) {
    super();
    this.#connect = connect;
    this.#config = config;
    this.#dryRun = dryRun;
    this.#time = time;
  }

  /** The last look; null before the first. */
  get snapshot(): Snapshot | null {
    return this.#snapshot;
  }

  start(): Promise<void> {
    const started = this.#begin();
    // `stop` waits for all of it, the first look included.
    this.#loop = started.then(
      () => this.#run(),
      () => {},
    );
    return started;
  }

  async #begin(): Promise<void> {
    const hypervisor = await this.#attach();
    try {
      await this.#look(hypervisor);
    } catch (error) {
      await this.#detach();
      throw error;
    }
  }

  /** Lets moves in flight end, puts the guests' stats periods back, closes the connection. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await this.#loop;
    const hypervisor = this.#hypervisor;
    if (hypervisor === null) return;
    await Promise.all(this.#setting.values());
    await Promise.all(
      [...this.#known].map(async ([uuid, { originalPeriod }]) => {
        if (originalPeriod === null) return;
        // The guest may be gone by now; there is nobody left to tell otherwise.
        await hypervisor.setStatsPeriod(uuid, originalPeriod, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => {});
      }),
    );
    await this.#detach();
  }

  /** Takes another configuration from the next look on. The connection's URI stays. */
  reconfigure(config: Config): void {
    this.#config = config;
    this.#forgetAll();
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  async #attach(): Promise<Hypervisor> {
    const hypervisor = await this.#connect();
    this.#off = hypervisor.onEvent((event) => this.#hear(event));
    this.#hypervisor = hypervisor;
    this.#lost = false;
    this.emit('connected', hypervisor.uri);
    return hypervisor;
  }

  async #detach(): Promise<void> {
    const hypervisor = this.#hypervisor;
    this.#hypervisor = null;
    this.#off();
    await hypervisor?.close({ deadlineMs: CLOSE_DEADLINE_MS });
  }

  #hear(event: HypervisorEvent): void {
    if (event.kind === 'balloon') return;
    if (event.kind === 'rebooted') this.#rebooted.add(event.uuid);
    // Hot-plug changes what the domain's XML says: read it anew.
    if (event.kind === 'deviceAdded') this.#forgetAll();
    if (event.kind === 'closed') this.#lost = true;
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  /** What is known of the guests stays in force until it has been read again, at the next look. */
  #forgetAll(): void {
    this.#generation++;
    for (const [uuid, known] of this.#known) this.#known.set(uuid, { ...known, retryAt: Number.NEGATIVE_INFINITY });
  }

  async #run(): Promise<void> {
    let retry = FIRST_RETRY_MS;
    let told = false;
    let failed: Hypervisor | null = null;
    while (!this.#stopping) {
      try {
        if (this.#lost) await this.#detach();
        const hypervisor = this.#hypervisor ?? (await this.#attachAgain());
        const next = nextLook(this.#model, this.#contexts(), this.#config);
        const due = this.#sweepAt + this.#config.intervalMs;
        // Events call for a sweep at once, but a storm of them must not be one of sweeps.
        const earliest = this.#model.at + LEAST_LOOK;
        const wait = Math.max(earliest, Math.min(due, this.#model.at + next.inMs)) - this.#time.now();
        if (wait > 0) {
          await this.#sleep(wait);
          continue;
        }
        const sweep = this.#time.now() >= this.#sweepAt + this.#config.intervalMs - 1;
        await this.#look(hypervisor, next, sweep);
        retry = FIRST_RETRY_MS;
        // A daemon that hung for a moment has kept the connection: that it answers again is told all the same.
        if (told && hypervisor === failed) this.emit('connected', hypervisor.uri);
        told = false;
      } catch (error) {
        if (!told) this.emit('lost', error instanceof Error ? error : new Error(String(error)));
        told = true;
        failed = this.#hypervisor;
        if (this.#hypervisor?.isAlive() !== true) this.#lost = true;
        // Full jitter between half and all of the pause, so that many hosts do not come back at the same moment.
        await this.#sleep(retry * (0.5 + Math.random() / 2));
        retry = Math.min(2 * retry, LAST_RETRY_MS);
      }
    }
  }

  /** After a loss nothing that was believed is trusted. What the stats periods were before us is kept. */
  async #attachAgain(): Promise<Hypervisor> {
    const hypervisor = await this.#attach();
    this.#model = EMPTY_MODEL;
    this.#forgetAll();
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    return hypervisor;
  }

  #sleep(ms: number): Promise<void> {
    const { done, wake } = this.#time.sleep(ms);
    this.#wake = wake;
    if (this.#stopping) wake();
    return done;
  }

  #contexts(): Map<string, GuestContext> {
    return new Map([...this.#known].map(([uuid, { context }]) => [uuid, context]));
  }

  /** One look: at all guests (`sweep`), or only at those at risk. */
  async #look(
    hypervisor: Hypervisor,
    { guests: atRisk, settling }: Pick<NextLook, 'guests' | 'settling'> = { guests: [], settling: [] },
    sweep = true,
  ): Promise<void> {
    const refresh = this.#dryRun ? [] : sweep ? [...atRisk, ...settling] : atRisk;
    if (sweep) this.#sweepAt = this.#time.now();
    const deadlineMs = Math.max(500, Math.min(this.#config.intervalMs, CONTROL_DEADLINE_MS));
    const [read, host] = await Promise.all([
      hypervisor.sample({ deadlineMs, refresh, ...(sweep ? {} : { only: atRisk }) }),
      hypervisor.hostMemory(),
    ]);
    await this.#meet(hypervisor, read.guests);
    const rebooted = this.#rebooted;
    this.#rebooted = new Set();
    const look: Look = { at: this.#time.now(), sweep: read, refreshed: new Set(refresh), rebooted, host, contexts: this.#contexts() };
    const made = plan(this.#model, look, this.#config);
    this.#model = made.model;
    this.#record(look, made);
    for (const notice of made.notices) this.emit('notice', notice);
    this.#tellEmpty(read.guests.length === 0);
    if (this.#dryRun) this.#rehearse(made.moves);
    else await this.#carryOut(hypervisor, made.moves);
    this.#snapshot = snapshotOf(made, look, this.#config, this.#model);
    this.emit('look', this.#snapshot);
  }

  #tellEmpty(empty: boolean): void {
    if (empty && !this.#toldEmpty)
      this.emit('notice', { kind: 'no-guests', level: 'info', message: 'no guest is running: waiting for some' });
    this.#toldEmpty = empty;
  }

  /** Learns the facts of guests that are new or may have changed, switches their figures on, forgets those that are gone. */
  async #meet(hypervisor: Hypervisor, guests: readonly GuestIdentity[]): Promise<void> {
    const now = this.#time.now();
    const here = new Set(guests.map(({ uuid }) => uuid));
    for (const uuid of this.#known.keys()) if (!here.has(uuid)) this.#known.delete(uuid);
    const strangers = guests.filter(({ uuid, id }) => {
      const known = this.#known.get(uuid);
      return known === undefined || known.id !== id || now >= known.retryAt;
    });
    await Promise.all(strangers.map((guest) => this.#introduce(hypervisor, guest)));
  }

  async #introduce(hypervisor: Hypervisor, { uuid, name, id }: GuestIdentity): Promise<void> {
    const generation = this.#generation;
    const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
    const before = this.#known.get(uuid);
    if (facts === null) {
      // What was known of this start of the guest holds on: settings and obstacles do not go away because libvirt does not answer.
      const context = before?.id === id ? before.context : contextOf(name, null, this.#config).context;
      this.#known.set(uuid, this.#later({ id, context, originalPeriod: before?.originalPeriod ?? null }, before));
      return;
    }
    const { context, problems } = contextOf(name, facts, this.#config);
    for (const problem of problems) {
      this.emit('notice', { kind: 'settings', level: 'warn', guest: name, uuid, message: `${name}: ${problem}` });
    }
    const retryAt = generation === this.#generation ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    const known: Known = { id, context, originalPeriod: before?.originalPeriod ?? null, retryAt, pause: before?.pause ?? FIRST_RETRY_MS };
    this.#known.set(uuid, known);
    const wanted = Math.max(1, Math.round(this.#config.intervalMs / 1000));
    const coordinated = context.included && context.overrides.manage !== false && facts.balloonModel !== 'none';
    if (!coordinated || facts.statsPeriod === wanted) return;
    if (!this.#dryRun)
      return this.#switchOn(hypervisor, uuid, wanted, { ...known, originalPeriod: known.originalPeriod ?? facts.statsPeriod });
    if (facts.statsPeriod > 0) return;
    const message = `${name} reports no figures, since its stats period is 0; a run would set it, or: virsh dommemstat ${name} --period ${wanted} --live`;
    this.emit('notice', { kind: 'settings', level: 'warn', guest: name, uuid, message });
  }

  /** Sets the stats period, without waiting for it. The original is noted before: a call that times out may yet take effect. */
  #switchOn(hypervisor: Hypervisor, uuid: string, period: number, known: Known): void {
    if (this.#setting.has(uuid)) {
      // The call under way may be for an earlier start of the guest.
      this.#known.set(uuid, { ...known, retryAt: Number.NEGATIVE_INFINITY });
      return;
    }
    this.#known.set(uuid, known);
    const called = hypervisor.setStatsPeriod(uuid, period, { deadlineMs: CONTROL_DEADLINE_MS }).then(
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
    if (known?.id === id) this.#known.set(uuid, change(known));
  }

  /** To be tried again, each time after a longer pause. */
  #later(known: Omit<Known, 'retryAt' | 'pause'>, before: Known | undefined): Known {
    const pause = before?.pause ?? FIRST_RETRY_MS;
    return { ...known, retryAt: this.#time.now() + pause, pause: Math.min(2 * pause, LAST_RETRY_MS) };
  }

  async #carryOut(hypervisor: Hypervisor, moves: readonly Move[]): Promise<void> {
    if (moves.length === 0) return;
    const errors = await hypervisor.setMemory(
      moves.map(({ uuid, to }) => ({ uuid, kib: to })),
      { deadlineMs: CONTROL_DEADLINE_MS },
    );
    const at = this.#time.now();
    moves.forEach((move, i) => {
      const error = errors[i] ?? null;
      const unknown = error?.code === 'ERR_MEMCOORD_DEADLINE';
      this.#model = ordered(this.#model, move, at, error === null ? 'stored' : unknown ? 'unknown' : 'failed');
      this.emit('move', error === null ? { ...move, applied: true } : { ...move, applied: false, error });
    });
  }

  #rehearse(moves: readonly Move[]): void {
    for (const move of moves) {
      const last = this.#rehearsed.get(move.uuid);
      if (last !== undefined && last.reason === move.reason && Math.abs(last.to - move.to) < DRY_RUN_GRAIN) continue;
      this.#rehearsed.set(move.uuid, move);
      this.emit('move', { ...move, applied: false });
    }
  }

  #record(look: Look, { moves }: Plan): void {
    if (this.listenerCount('record') === 0) return;
    const { sweep, refreshed, rebooted, contexts, ...rest } = look;
    this.emit('record', {
      ...rest,
      guests: sweep.guests,
      figures: [...sweep.figures],
      refreshed: [...refreshed],
      rebooted: [...rebooted],
      contexts: Object.fromEntries(contexts),
      moves,
    });
  }
}

/** What the policy is told of a guest, out of its XML, its metadata and the configuration: the metadata comes first. */
function contextOf(name: string, facts: DomainFacts | null, config: Config): { context: GuestContext; problems: readonly string[] } {
  const { overrides, problems } = parseMetadata(facts?.metadata ?? null);
  const merged: GuestOverrides = { ...guestOverrides(config, name), ...overrides };
  return { context: { facts, overrides: merged, included: isIncluded(config, name), statsPeriod: facts?.statsPeriod ?? 0 }, problems };
}

/** One reading of host and guests. Changes nothing, and works on a read-only connection. */
export async function readOnce(hypervisor: Hypervisor, config: Config, time: Time = machineTime): Promise<Snapshot> {
  const [sweep, host] = await Promise.all([hypervisor.sample({ deadlineMs: CONTROL_DEADLINE_MS }), hypervisor.hostMemory()]);
  const contexts = new Map<string, GuestContext>();
  await Promise.all(
    sweep.guests.map(async ({ uuid, name }) => {
      const facts = await hypervisor.describe(uuid, { deadlineMs: CONTROL_DEADLINE_MS }).catch(() => null);
      contexts.set(uuid, contextOf(name, facts, config).context);
    }),
  );
  const look: Look = { at: time.now(), sweep, refreshed: new Set(), rebooted: new Set(), atFirstSight: true, host, contexts };
  const made = plan(EMPTY_MODEL, look, config);
  const snapshot = snapshotOf(made, look, config, made.model);
  // A first sight knows no change of the figures: their age is what the guest's last answer tells, to the second.
  const ages = new Map(sweep.guests.map(({ uuid }, row) => [uuid, ageOf(sweep, row)]));
  return { ...snapshot, guests: snapshot.guests.map((guest) => ({ ...guest, statsAge: ages.get(guest.uuid) ?? Number.NaN })) };
}

function ageOf(sweep: Sweep, row: number): number {
  const answered = sweep.figures[row * STRIDE + LAST_UPDATE] ?? Number.NaN;
  return answered > 0 ? Math.max(0, Date.now() - answered * 1000) : Number.NaN;
}

function snapshotOf({ assessments, account, state }: Plan, look: Look, config: Config, model: Model): Snapshot {
  const guests = assessments.map(({ need, allocation, survivableBurst }, i): GuestView => {
    const belief = model.guests[i];
    if (belief === undefined) throw new Error('a plan assesses the guests of its model');
    const { uuid, name, phase, actual, target, unused, usable, used, floor, ceiling, share, trend, maximum, lastReason, why } = belief;
    return {
      uuid,
      name,
      phase,
      actual,
      target,
      unused,
      usable,
      used,
      spare: spareNow(belief),
      need,
      allocation,
      floor,
      ceiling,
      share,
      trend,
      maximum,
      survivableBurst,
      statsAge: look.at - belief.figuresAt,
      lastReason,
      why,
    };
  });
  const { total, available, pressure } = look.host;
  const { capacity, charged, reserve, overhead } = account;
  return {
    at: Date.now(),
    host: { total, available, capacity, charged, free: capacity - charged, pool: config.poolKiB, reserve, overhead, state, pressure },
    guests,
  };
}
