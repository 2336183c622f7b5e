/** The loop: sample → plan → move → report. The policy makes all decisions; the hypervisor does all that touches the world. */
import { EventEmitter } from 'node:events';
import { abortable } from '../common/abort.js';
import { messageOf } from '../common/text.js';
import { machineTime, type Time } from '../common/time.js';
import { formatSize } from '../common/units.js';
import type { Config } from '../config/config.js';
import type { DomainFacts, HostMemory, Hypervisor, HypervisorEvent } from '../hypervisor.js';
import { type Order, ordered } from '../policy/decide.js';
import { type ActivityCheck, activityCheckInterval, type NextSample, nextSample, toWatch } from '../policy/demand.js';
import { EMPTY_MODEL, type Model } from '../policy/guest.js';
import { LEAST_SAMPLE, SAME, SAMPLE_COST, SAVED_FOR, WATCH_COST, WATCH_PART } from '../policy/limits.js';
import { type Plan, type Purpose, plan } from '../policy/plan.js';
import { fateOf, isRestored, isToGive, rescues } from '../policy/restore.js';
import type { Move, Sample } from '../policy/types.js';
import { CPU_TIME, type GuestIdentity, REFRESHED, STRIDE, type Sweep } from '../sweep.js';
import { type Lock, takeLock } from './lock.js';
import { type Notice, type Restored, restoredOf, worded } from './messages.js';
import { type RecordedSample, toLine } from './recording.js';
import { CONTROL_DEADLINE_MS, FIRST_RETRY_MS, GuestRegistry, LAST_RETRY_MS } from './registry.js';
import { type Seen, type Snapshot, snapshotOf } from './snapshot.js';
import { type State, stateOf } from './state.js';

/** A move and its outcome. */
export interface MoveOutcome extends Move {
  /** False in a dry run, and where `error` says why. */
  readonly applied: boolean;
  readonly error?: Error;
}

/** Events of a coordinator, with the arguments of their listeners. */
export interface CoordinatorEvents {
  sample: [Snapshot];
  move: [MoveOutcome];
  notice: [Notice];
  /** The connection was lost or could not be made; the coordinator tries again. */
  lost: [Error];
  /** Connected, for the first time or again; with the URI. */
  connected: [string];
  /** The input of one sample's plan, and its moves: plain data, for a recording. */
  record: [Readonly<Record<string, unknown>>];
}

/** Options of a coordinator. */
export interface CoordinatorOptions {
  /** Called to connect, and again whenever the connection is lost. */
  readonly connect: () => Promise<Hypervisor>;
  readonly config: Config;
  /** Report what would be done and change nothing, not even stats periods. */
  readonly dryRun?: boolean;
  /** The clock: the machine's by default; a simulated host brings its own. */
  readonly time?: Time;
  /** Returns numbers from 0 to 1, to spread the pauses between attempts to connect; `Math.random` by default. */
  readonly random?: () => number;
  /**
   * Keeps what must outlive this process, even a crash: the guests' original sizes, the last targets, and what was learned. The next
   * coordinator resumes from it. By default the host's own file ({@link statePlace}), as for the command; null: nothing is kept. A dry run
   * only reads it.
   */
  readonly state?: State | null;
  /**
   * Locks the host, by its id, against other coordinators. By default {@link takeLock}, as for the command; null: no lock. A dry run takes
   * none.
   */
  readonly lock?: ((hostId: string) => Promise<Lock>) | null;
}

const CLOSE_DEADLINE_MS = 3000;
/**
 * Storing a target takes 30 to 70 ms [M]. A guest whose migration has just begun must not delay the others for longer than this. After the
 * deadline the call's outcome is unknown, and the higher charge is kept (rule 11).
 */
const ORDER_DEADLINE_MS = 700;
/** The pauses between attempts do not grow for this time, ms: the daemon may only be restarting. */
const RESTARTING_MS = 10_000;
/** Longest time to restore the guests, ms: service managers commonly kill after 90 s. */
const RESTORE_DEADLINE_MS = 60_000;
/** Restoring ends when nothing has moved for this time, ms: guests answer within two stats periods, balloons within PROGRESS_WINDOW. */
const RESTORE_QUIET_MS = 5000;
/** Time between two samples while restoring, ms. */
const RESTORE_SAMPLE_MS = 500;
/** How a sample is planned while stopping, and which of the plan's moves are carried out. */
interface WayOut {
  readonly purpose: Purpose;
  readonly choose: (made: Plan) => readonly Move[];
}
const NOT_KNOWN = new Float64Array(0);
/**
 * Samples after connecting, whatever the interval, until the guests are discovered: times, ms, and whether figures are refreshed. The first
 * reads figures that were there before, or came when the stats period was switched on. After that only a change shows that a guest answers,
 * and two changes are needed (rule 12). `last_update` counts whole seconds, so refreshes are about a second apart.
 */
const DISCOVERY: readonly { readonly afterMs: number; readonly refresh: boolean }[] = [
  { afterMs: 250, refresh: false },
  { afterMs: 950, refresh: true },
  { afterMs: 1800, refresh: true },
];
/** Most guests to discover this way, outside the sampling budget: 50 take half a second of CPU, once. Sweeps discover the others. */
const MOST_DISCOVERED = 50;
/** Initial savings for extra samples: the sampling budget of this time, ms. More must be saved up first. */
const FIRST_SAVINGS_MS = 1000;
const NOT_ORDERED = { outcomes: [], orderedAt: 0 };
/** A dry run may not refresh figures, so it only sweeps. */
const NO_SAMPLE: NextSample = { guests: [], settling: [], againMs: Number.POSITIVE_INFINITY };
/** A dry run repeats a guest's move only for another reason or a target that differs by this much, KiB. */
const DRY_RUN_GRAIN = 16 * 1024;

/** A failed start returns to `idle`; `stopped` is final. */
export type CoordinatorState = 'idle' | 'running' | 'stopping' | 'stopped';

/** `start` was called on a coordinator that has been started or stopped. */
export class CoordinatorStateError extends Error {
  override readonly name = 'CoordinatorStateError';
  readonly code = 'ERR_MEMCOORD_STATE';

  readonly state: CoordinatorState;

  constructor(state: CoordinatorState) {
    super(`a coordinator is started once, and this one is ${state}: make another`);
    this.state = state;
  }
}

/**
 * Coordinates the guests of one host until it is stopped.
 *
 * `start` resolves after the first sample and rejects if libvirt cannot be reached. When the connection is lost later, the coordinator
 * emits `lost` and tries to reconnect, for ever. Listen to `move` and `notice` to know what it does and why.
 */
export class Coordinator extends EventEmitter<CoordinatorEvents> {
  readonly #connect: () => Promise<Hypervisor>;
  readonly #dryRun: boolean;
  readonly #time: Time;
  readonly #random: () => number;
  readonly #registry: GuestRegistry;
  readonly #state: CoordinatorOptions['state'];
  readonly #lock: NonNullable<CoordinatorOptions['lock']> | null;
  /** By host id. It can change: without a UUID of the machine, libvirt makes one up at each start of its daemon. */
  readonly #locks = new Map<string, Lock>();
  #config: Config;
  #hypervisor: Hypervisor | null = null;
  #model: Model = EMPTY_MODEL;
  #rebooted = new Set<string>();
  #started = new Set<string>();
  /** Steps of DISCOVERY still to come. */
  #discovery: readonly { readonly at: number; readonly refresh: boolean }[] = [];
  #rehearsed = new Map<string, Move>();
  /** The configuration recorded last. */
  #recorded: Config | null = null;
  #seen: Seen | null = null;
  /** Made from `#seen` on demand. */
  #snapshot: Snapshot | null = null;
  #sampledAt = Number.NEGATIVE_INFINITY;
  /** CPU time for extra samples that is left, ms, and when that was computed. */
  #savings: number;
  #savedAt: number;
  #sweepAt = Number.NEGATIVE_INFINITY;
  #off: () => void = () => {};
  #lifecycle: CoordinatorState = 'idle';
  #lost = false;
  #toldEmpty = false;
  #wake: () => void = () => {};
  #forgetSignal: () => void = () => {};
  #loop: Promise<void> = Promise.resolve();
  #ended: Promise<readonly Restored[]> | null = null;

  constructor({ connect, config, dryRun = false, time = machineTime, random = Math.random, state, lock = takeLock }: CoordinatorOptions) {
    super();
    this.#state = state;
    this.#lock = dryRun ? null : lock;
    this.#connect = connect;
    this.#config = config;
    this.#dryRun = dryRun;
    this.#time = time;
    this.#random = random;
    this.#savings = FIRST_SAVINGS_MS * config.samplingBudget;
    this.#savedAt = time.now();
    this.#registry = new GuestRegistry({
      config: () => this.#config,
      dryRun,
      time,
      beliefs: () => this.#model.guests,
      tell: (notice) => this.#emit('notice', notice),
    });
  }

  /** The last sample; null before the first. */
  get snapshot(): Snapshot | null {
    if (this.#seen !== null) this.#snapshot ??= snapshotOf(this.#seen);
    return this.#snapshot;
  }

  /**
   * Calls the listeners one by one. An error that one of them throws must not stop the coordination: it becomes an `uncaughtException` of
   * the process, as if thrown in a timer of the listener's own, and the other listeners are still called.
   */
  #emit<Kind extends keyof CoordinatorEvents>(kind: Kind, ...what: CoordinatorEvents[Kind]): void {
    for (const listener of this.rawListeners(kind)) {
      try {
        (listener as (...what: CoordinatorEvents[Kind]) => void).apply(this, what);
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    }
  }

  /** Where it is in its life cycle. */
  get state(): CoordinatorState {
    return this.#lifecycle;
  }

  /**
   * @param options `signal` stops the coordinator when aborted, as {@link stop} does; a start still under way rejects with the signal's
   *   reason.
   * @throws CoordinatorStateError if it is not `idle`; LibvirtError if libvirt cannot be reached; LockedError if another coordinator holds
   *   the host. After the last two it may be called again.
   */
  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#lifecycle !== 'idle') throw new CoordinatorStateError(this.#lifecycle);
    const { signal } = options;
    signal?.throwIfAborted();
    this.#lifecycle = 'running';
    const started = this.#begin().catch((error: unknown) => {
      if (this.#lifecycle === 'running') this.#lifecycle = 'idle';
      this.#forgetSignal();
      throw error;
    });
    // `stop` waits for all of it, the first sample included.
    this.#loop = started.then(
      () => this.#run(),
      () => {},
    );
    if (signal === undefined) return started;
    const stop = () => void this.stop();
    signal.addEventListener('abort', stop, { once: true });
    this.#forgetSignal = () => signal.removeEventListener('abort', stop);
    return abortable(started, signal);
  }

  async #begin(): Promise<void> {
    const hypervisor = await this.#attach();
    try {
      const state = this.#state === undefined ? await this.#ownState(hypervisor) : this.#state;
      if (state !== null) await this.#registry.remember(state);
      await this.#sample(hypervisor);
    } catch (error) {
      await this.#detach().finally(() => this.#unlock());
      throw error;
    }
  }

  #ownState(hypervisor: Hypervisor): Promise<State | null> {
    return stateOf(hypervisor, (message) => this.#emit('notice', { kind: 'state', level: 'warn', message }), { readOnly: this.#dryRun });
  }

  /** Makes sure that nobody else coordinates the host that we have just connected to. */
  async #hold(hypervisor: Hypervisor): Promise<void> {
    if (this.#lock === null) return;
    const hostId = await hypervisor.hostId();
    if (hostId !== null && !this.#locks.has(hostId)) this.#locks.set(hostId, await this.#lock(hostId));
  }

  async #unlock(): Promise<void> {
    const locks = [...this.#locks.values()];
    this.#locks.clear();
    for (const lock of locks) await lock.release();
  }

  /**
   * Waits for moves in flight and relieves guests under pressure. Then restores the guests' original sizes if the configuration says so
   * (`onExit`), restores their stats periods, and closes the connection. Takes 70 s at most, usually a moment.
   */
  async stop(): Promise<void> {
    const restore = this.#config.onExit === 'restore';
    this.#ended ??= this.#end(restore);
    const tell = (message: string) => this.#emit('notice', { kind: 'not-restored', level: 'warn', message });
    try {
      for (const { name, size, original, why } of restore ? await this.#ended : []) {
        if (original > 0 && why !== null)
          tell(`${name} is left with ${formatSize(size)}, not the ${formatSize(original)} of before: ${why}`);
      }
      await this.#ended;
    } catch (error) {
      const reason = messageOf(error);
      tell(`the guests keep what they have: ${reason}; memcoord release gives them back what they had before`);
    }
  }

  /** {@link stop}, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /**
   * Stops, and returns every guest to the balloon size that it had before a coordinator came, as far as the host's capacity and the guest's
   * own use allow. The pool does not count: it came with the coordinator. A dry run only returns what would happen.
   */
  release(): Promise<readonly Restored[]> {
    this.#ended ??= this.#end(true);
    return this.#ended;
  }

  async #end(restore: boolean): Promise<readonly Restored[]> {
    this.#lifecycle = 'stopping';
    this.#wake();
    await this.#loop;
    const hypervisor = this.#hypervisor;
    let fates: readonly Restored[] = [];
    let failure: unknown = null;
    try {
      if (hypervisor === null || this.#lost) throw new Error('there is no connection to libvirt');
      if (!this.#dryRun) await this.#relieve(hypervisor);
      if (restore) fates = await this.#restore(hypervisor);
    } catch (error) {
      failure = error;
    }
    const done = fates.filter(({ why, original }) => why === null && !Number.isNaN(original));
    await this.#registry.putBack(hypervisor, new Set(done.map(({ uuid }) => uuid)));
    await this.#detach()
      .finally(() => this.#unlock())
      .finally(() => {
        this.#forgetSignal();
        this.#lifecycle = 'stopped';
      });
    // Without `restore` the guests keep their sizes, and a daemon that does not answer does them no harm.
    if (restore && failure !== null) throw failure;
    return fates;
  }

  /** One last sample; carries out only the moves that cannot wait for the next coordinator. */
  async #relieve(hypervisor: Hypervisor): Promise<void> {
    const check = this.#checkActivity(hypervisor, this.#time.now());
    const next = nextSample(this.#model, this.#registry.contexts, this.#config, check);
    await this.#sample(hypervisor, next, true, check.cpu, { purpose: 'coordinate', choose: rescues });
  }

  /** Samples and moves until every guest has its original size, or nothing changes any more. */
  async #restore(hypervisor: Hypervisor): Promise<readonly Restored[]> {
    this.#config = { ...this.#config, pool: null };
    const started = this.#time.now();
    let wentOnAt = started;
    const wayOut: WayOut = { purpose: 'restore', choose: this.#dryRun ? () => [] : ({ moves }) => moves };
    for (;;) {
      const before = this.#model.guests;
      // Growth depends on the figures of all guests, so guests that have not answered yet are refreshed too.
      const asked = this.#dryRun ? [] : before.filter((belief) => isToGive(belief) || belief.phase === 'booting');
      const guests = asked.map(({ uuid }) => uuid);
      const moves = await this.#sample(hypervisor, { ...NO_SAMPLE, guests }, true, NOT_KNOWN, wayOut);
      const now = this.#time.now();
      const { guests: seen } = this.#model;
      const moved = seen.some(({ actual }, row) => Math.abs(actual - (before[row]?.actual ?? actual)) > SAME);
      if (moves > 0 || moved) wentOnAt = now;
      const known = seen.every(({ phase }) => phase !== 'booting');
      if (known && (this.#dryRun || seen.every(isRestored))) break;
      if (now - wentOnAt > RESTORE_QUIET_MS || now - started > RESTORE_DEADLINE_MS) break;
      await this.#time.sleep(RESTORE_SAMPLE_MS).done;
    }
    const account = this.#seen?.account;
    if (account === undefined) return [];
    return this.#model.guests.map((belief) => restoredOf(fateOf(belief, this.#dryRun), account, this.#factsOf(belief.uuid)));
  }

  /** Uses another configuration from the next sample on. The connection's URI stays. */
  reconfigure(config: Config): void {
    this.#config = config;
    this.#registry.forgetAll();
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  async #attach(): Promise<Hypervisor> {
    const hypervisor = await this.#connect();
    try {
      await this.#hold(hypervisor);
    } catch (error) {
      await hypervisor.close({ deadlineMs: CLOSE_DEADLINE_MS });
      throw error;
    }
    this.#off = hypervisor.onEvent((event) => this.#hear(event));
    this.#hypervisor = hypervisor;
    this.#lost = false;
    const now = this.#time.now();
    this.#discovery = this.#dryRun ? [] : DISCOVERY.map(({ afterMs, refresh }) => ({ at: now + afterMs, refresh }));
    this.#emit('connected', hypervisor.uri);
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
    if (event.kind === 'started') {
      this.#started.add(event.uuid);
      this.#registry.boots(event.uuid);
    }
    if (event.kind === 'stopped' || event.kind === 'saved') this.#started.delete(event.uuid);
    if (event.kind === 'saved') this.#registry.sleeps(event.uuid);
    // Hot-plug changes the domain's XML: read it again.
    if (event.kind === 'deviceAdded') this.#registry.forget(event.uuid);
    if (event.kind === 'closed') this.#lost = true;
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    this.#wake();
  }

  async #run(): Promise<void> {
    let retry = FIRST_RETRY_MS;
    let lostAt: number | null = null;
    let reported = false;
    let failed: Hypervisor | null = null;
    while (this.#lifecycle === 'running') {
      try {
        if (this.#lost) await this.#detach();
        const hypervisor = this.#hypervisor ?? (await this.#attachAgain());
        const now = this.#time.now();
        // An event requests a sweep at once, but a storm of events must not become a storm of sweeps.
        const earliest = this.#sampledAt + LEAST_SAMPLE;
        const due = Math.min(this.#sweepAt + this.#config.intervalMs, this.#discovery[0]?.at ?? Number.POSITIVE_INFINITY);
        const check = this.#checkActivity(hypervisor, now);
        const next = this.#dryRun ? NO_SAMPLE : nextSample(this.#model, this.#registry.contexts, this.#config, check);
        const sweep = now >= due - 1;
        if (now < earliest || !(sweep || next.guests.length > 0)) {
          await this.#sleep(Math.max(earliest, Math.min(due, now + next.againMs)) - now);
          continue;
        }
        await this.#sample(hypervisor, next, sweep, check.cpu);
        retry = FIRST_RETRY_MS;
        lostAt = null;
        // A daemon that hung for a moment has kept the connection; report that it answers again.
        if (reported && hypervisor === failed) this.#emit('connected', hypervisor.uri);
        reported = false;
      } catch (error) {
        failed = this.#hypervisor;
        if (failed?.isAlive() !== true) this.#lost = true;
        // One late answer is normal: libvirtd lists no guests while it waits for the process of a destroyed guest to end.
        const late = !this.#lost && lostAt === null && isLate(error);
        if (!reported && !late) this.#emit('lost', error instanceof Error ? error : new Error(String(error)));
        reported ||= !late;
        // Full jitter, so that many hosts do not reconnect at the same moment, on top of a minimum pause.
        await this.#sleep(LEAST_SAMPLE + retry * this.#random());
        lostAt ??= this.#time.now();
        // A daemon that is being upgraded is back within seconds: frequent attempts help its guests and do no harm.
        retry = Math.min(2 * retry, this.#time.now() - lostAt < RESTARTING_MS ? FIRST_RETRY_MS : LAST_RETRY_MS);
      }
    }
  }

  /** What is known without a sample, and what samples may cost. */
  #checkActivity(hypervisor: Hypervisor, at: number): ActivityCheck & { readonly vcpus: number } {
    const { samplingBudget } = this.#config;
    this.#savings = Math.min(SAVED_FOR * samplingBudget, this.#savings + (at - this.#savedAt) * samplingBudget);
    this.#savedAt = at;
    const { guests } = this.#model;
    return { at, cpu: this.#cpuTimes(hypervisor, guests), savings: this.#savings, vcpus: hypervisor.vcpuCount(guests) };
  }

  /** CPU times of the guests; none if there are too many virtual CPUs for activity checks between sweeps. */
  #cpuTimes(hypervisor: Hypervisor, guests: readonly GuestIdentity[]): Float64Array {
    const everyMs = activityCheckInterval(hypervisor.vcpuCount(guests), this.#config);
    return everyMs < this.#config.intervalMs ? hypervisor.cpuTimes(guests) : NOT_KNOWN;
  }

  /** UUIDs of guests to refresh because they have not been discovered yet (DISCOVERY). */
  #toDiscover(): string[] {
    const now = this.#time.now();
    const reached = this.#discovery.filter(({ at }) => at <= now + 1);
    this.#discovery = this.#discovery.slice(reached.length);
    if (!reached.some(({ refresh }) => refresh)) return [];
    const unknown = this.#model.guests.filter(
      ({ uuid, phase }) => phase === 'booting' && (this.#registry.contexts.get(uuid)?.statsPeriod ?? 0) > 0,
    );
    return unknown.slice(0, MOST_DISCOVERED).map(({ uuid }) => uuid);
  }

  /**
   * UUIDs of guests whose disk counters are read: those that are sampled (`only`), as far as their part of the sampling budget allows. A
   * sweep grants that part even if nothing is left: guests whose cache was taken must be watched although samples of others spend it all.
   */
  #toWatch({ only }: { readonly only?: readonly string[] }): readonly string[] {
    const { samplingBudget, intervalMs } = this.#config;
    const wanted = toWatch(this.#model, this.#sampledAt).filter((uuid) => only?.includes(uuid) ?? true);
    const part = WATCH_PART * samplingBudget * intervalMs;
    const most = (only === undefined ? part : Math.min(this.#savings, part)) / WATCH_COST;
    const reads = wanted.slice(0, Math.max(0, Math.floor(most)));
    this.#savings -= reads.length * WATCH_COST;
    return reads;
  }

  /** After a reconnection, our own beliefs are worth only as much as a previous coordinator's. */
  async #attachAgain(): Promise<Hypervisor> {
    const hypervisor = await this.#attach();
    this.#registry.keepBeliefs();
    this.#model = EMPTY_MODEL;
    this.#registry.forgetAll();
    this.#sweepAt = Number.NEGATIVE_INFINITY;
    return hypervisor;
  }

  #sleep(ms: number): Promise<void> {
    const { done, wake } = this.#time.sleep(ms);
    this.#wake = wake;
    if (this.#lifecycle !== 'running') wake();
    return done;
  }

  /**
   * One sample of all guests (`sweep`), or only of those at risk.
   *
   * @param wayOut given only while stopping: such a sample is not recorded, since its moves are not those of an ordinary plan.
   * @returns the number of moves
   */
  async #sample(
    hypervisor: Hypervisor,
    { guests: atRisk, settling }: NextSample = NO_SAMPLE,
    sweep = true,
    cpu: Float64Array = NOT_KNOWN,
    wayOut: WayOut | null = null,
  ): Promise<number> {
    const paid = sweep ? [...atRisk, ...settling] : atRisk;
    this.#savings -= paid.length * SAMPLE_COST;
    const refresh = sweep ? [...new Set([...paid, ...this.#toDiscover()])] : paid;
    this.#sampledAt = this.#time.now();
    if (sweep) this.#sweepAt = this.#sampledAt;
    const only = sweep ? {} : { only: atRisk };
    const reads = this.#toWatch(only);
    const before = this.#model.guests;
    const deadlineMs = Math.max(500, Math.min(this.#config.intervalMs, CONTROL_DEADLINE_MS));
    const [read, host] = await this.#read(hypervisor, { deadlineMs, refresh, reads, ...only });
    noteCpuTimes(read, isSame(before, read.guests) ? cpu : this.#cpuTimes(hypervisor, read.guests));
    // The stats period may have been switched off and not on again: read and set it again.
    for (const uuid of notRefreshed(read, refresh)) this.#registry.forget(uuid);
    await this.#registry.discover(hypervisor, read);
    const rebooted = this.#rebooted;
    this.#rebooted = new Set();
    const started = new Set(read.guests.filter(({ uuid }) => this.#started.delete(uuid)).map(({ uuid }) => uuid));
    const sample: Sample = {
      at: this.#time.now(),
      sweep: read,
      refreshed: new Set(refresh),
      rebooted,
      started,
      host,
      contexts: this.#registry.contexts,
    };
    const config = this.#config;
    const made = plan(this.#model, sample, config, wayOut?.purpose);
    const anew = this.#model === EMPTY_MODEL;
    this.#model = made.model;
    const moves = wayOut === null ? made.moves : wayOut.choose(made);
    for (const notice of made.notices) this.#emit('notice', worded(notice, this.#factsOf(notice.uuid)));
    this.#tellEmpty(read.guests.length === 0);
    if (this.#dryRun) this.#rehearse(moves);
    const { outcomes, orderedAt } = this.#dryRun ? NOT_ORDERED : await this.#carryOut(hypervisor, moves);
    if (wayOut === null) this.#record({ sample, config, anew, moves, outcomes, orderedAt });
    if (moves.length > 0 || made.notices.length > 0) this.#registry.note();
    const { account, state } = made;
    this.#seen = { wallClock: Date.now(), sample, config, model: this.#model, account, state };
    this.#snapshot = null;
    if (this.listenerCount('sample') > 0 && this.snapshot !== null) this.#emit('sample', this.snapshot);
    return moves.length;
  }

  /**
   * Reads guests and host. Memory that moves between host and guests meanwhile would count twice. So the host is read before and after the
   * guests, and the lower figures count (rule 4).
   */
  async #read(hypervisor: Hypervisor, options: Parameters<Hypervisor['sample']>[0]): Promise<readonly [Sweep, HostMemory]> {
    const [before, read] = await Promise.all([hypervisor.hostMemory(), hypervisor.sample(options)]);
    return [read, lesser(before, await hypervisor.hostMemory())];
  }

  #factsOf(uuid: string | undefined): DomainFacts | null {
    return (uuid === undefined ? undefined : this.#registry.contexts.get(uuid)?.facts) ?? null;
  }

  #tellEmpty(empty: boolean): void {
    if (empty && !this.#toldEmpty)
      this.#emit('notice', { kind: 'no-guests', level: 'info', message: 'no guest is running: waiting for one' });
    this.#toldEmpty = empty;
  }

  async #carryOut(hypervisor: Hypervisor, moves: readonly Move[]): Promise<Pick<RecordedSample, 'outcomes' | 'orderedAt'>> {
    if (moves.length === 0) return NOT_ORDERED;
    const errors = await hypervisor.setMemory(
      moves.map(({ uuid, to }) => ({ uuid, kib: to })),
      { deadlineMs: ORDER_DEADLINE_MS },
    );
    const orders = moves.map((move, i): Order => ({ move, outcome: outcomeOf(errors[i]) }));
    const orderedAt = this.#time.now();
    this.#model = ordered(this.#model, orders, orderedAt);
    for (const [i, move] of moves.entries()) {
      const error = errors[i] ?? null;
      this.#emit('move', error === null ? { ...move, applied: true } : { ...move, applied: false, error });
    }
    return { outcomes: orders.map(({ outcome }) => outcome), orderedAt };
  }

  #rehearse(moves: readonly Move[]): void {
    for (const move of moves) {
      const last = this.#rehearsed.get(move.uuid);
      if (last !== undefined && last.reason === move.reason && Math.abs(last.to - move.to) < DRY_RUN_GRAIN) continue;
      this.#rehearsed.set(move.uuid, move);
      this.#emit('move', { ...move, applied: false });
    }
  }

  #record({ config, ...rest }: RecordedSample & { readonly config: Config }): void {
    if (this.listenerCount('record') === 0) return;
    this.#emit('record', toLine(config === this.#recorded ? rest : { config, ...rest }));
    this.#recorded = config;
  }
}

/** The later of two readings, with the lower figures for what can be given out. */
function lesser(before: HostMemory, after: HostMemory): HostMemory {
  const rooms = [before.cgroupRoom, after.cgroupRoom].filter((room) => room !== null);
  return {
    ...after,
    available: Math.min(before.available, after.available),
    arc: Math.min(before.arc, after.arc),
    cgroupRoom: rooms.length === 0 ? null : Math.min(...rooms),
  };
}

function isSame(before: readonly GuestIdentity[], after: readonly GuestIdentity[]): boolean {
  return before.length === after.length && after.every(({ uuid, id }, row) => before[row]?.uuid === uuid && before[row]?.id === id);
}

function noteCpuTimes({ guests, figures }: Sweep, cpu: Float64Array): void {
  for (let row = 0; row < guests.length; row++) figures[row * STRIDE + CPU_TIME] = cpu[row] ?? Number.NaN;
}

/** UUIDs of guests whose requested refresh was refused or has not come back. */
function notRefreshed({ guests, figures }: Sweep, asked: readonly string[]): string[] {
  if (asked.length === 0) return [];
  return guests.filter(({ uuid }, row) => asked.includes(uuid) && figures[row * STRIDE + REFRESHED] !== 0).map(({ uuid }) => uuid);
}

function outcomeOf(error: Error | null | undefined): Order['outcome'] {
  if (error == null) return 'stored';
  return isLate(error) ? 'unknown' : 'failed';
}

function isLate(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MEMCOORD_DEADLINE';
}
