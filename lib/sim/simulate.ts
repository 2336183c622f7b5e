/** Runs a scenario: a coordinator on a simulated host, as fast as the machine allows. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { Coordinator, type MoveOutcome } from '../coordinator/coordinator.js';
import type { Notice } from '../coordinator/messages.js';
import { fromLine, type RecordedSample, replay } from '../coordinator/recording.js';
import { stage } from './faults.js';
import type { SimHost } from './host.js';
import { type Invariant, Invariants, type Violation } from './invariants.js';
import type { Scenario } from './scenario.js';
import { fateOf, type GuestFate, HostAccount, type HostFate, runUnmanaged } from './unmanaged.js';

/** Listeners of a simulation, and the coordinator that it runs. */
export interface SimulationOptions {
  /** Called for each move, with the simulated time, ms. */
  readonly onMove?: (at: number, move: MoveOutcome) => void;
  /** Called for each notice, with the simulated time, ms. */
  readonly onNotice?: (at: number, notice: Notice) => void;
  /** Called for each sample, with what a recording would contain. */
  readonly onRecord?: (sample: Readonly<Record<string, unknown>>) => void;
  /** A coordinator to run instead of ours, to test the invariants. */
  readonly coordinator?: typeof Coordinator;
}

/** What became of a guest, managed and unmanaged. */
export interface GuestResult extends GuestFate {
  readonly name: string;
  readonly moves: number;
  readonly unmanaged: GuestFate;
}

/** The result of a simulation. */
export interface SimulationResult {
  readonly seed: number;
  /** Ms. */
  readonly duration: number;
  readonly samples: number;
  readonly moves: number;
  /** Sum of all changes of targets, KiB. */
  readonly moved: number;
  readonly host: HostFate;
  readonly unmanaged: HostFate;
  /**
   * For each invariant: whether the simulation could have violated it. `rest` needs enough time for the targets to come to rest, and a harm
   * needs its condition to be met.
   */
  readonly judged: Readonly<Record<Invariant, boolean>>;
  /** Guests that were there at the end, and guests that were gone by then. */
  readonly guests: readonly GuestResult[];
  readonly violations: readonly Violation[];
}

/** Runs a scenario twice: unmanaged, then managed. Deterministic: the same scenario gives the same result. */
export async function simulate(scenario: Scenario, options: SimulationOptions = {}): Promise<SimulationResult> {
  const { onMove, onNotice, onRecord, coordinator: Kind = Coordinator } = options;
  const { seed, duration, restAt, config } = scenario;
  const unmanaged = await runUnmanaged(scenario);
  let disturb = () => {};
  const host = stage(scenario, () => disturb());
  const invariants = new Invariants(host, config, restAt, unmanaged);
  disturb = () => invariants.disturb();
  const account = new HostAccount(host, config);
  host.onStep = () => {
    account.step();
    invariants.step();
  };
  const random = xoroshiro128plus(seed);
  const coordinator = new Kind({ connect: host.connect, config, time: host.time, random: () => uniformInt(random, 0, 0xffff) / 0x10000 });
  const movesOf = new Map<string, number>();
  let samples = 0;
  let moves = 0;
  let moved = 0;
  const recorded: RecordedSample[] = [];
  coordinator.on('sample', (snapshot) => {
    samples++;
    invariants.sample(snapshot, recorded.at(-1)?.sample.at ?? host.now);
  });
  coordinator.on('move', (move) => {
    moves++;
    moved += Math.abs(move.to - move.from);
    movesOf.set(move.name, (movesOf.get(move.name) ?? 0) + 1);
    invariants.move(move);
    onMove?.(host.now, move);
  });
  if (onNotice !== undefined) coordinator.on('notice', (notice) => onNotice(host.now, notice));
  coordinator.on('record', (line) => {
    onRecord?.(line);
    // The sample is parsed from text, as if read from a file.
    const sample = fromLine(JSON.stringify({ kind: 'sample', ...line }));
    if (sample !== null) recorded.push(sample);
  });
  const started = coordinator.start();
  await host.pass(duration);
  await settled(host, started);
  invariants.finish();
  // From here on the coordinator stops. That is not judged, and not part of the account.
  host.onStep = () => {};
  for (const { at, recorded: was, replayed } of replay(recorded, config).differences)
    invariants.violations.push({
      invariant: 'replay',
      at,
      guest: null,
      message: `${was.length} moves recorded, ${replayed.length} planned again, and they differ`,
    });
  const { judged } = invariants;
  const hostFate = account.fate;
  const guests = host.everyone.map((guest) => {
    const { name } = guest.spec;
    const fate = fateOf(guest);
    return { name, ...fate, moves: movesOf.get(name) ?? 0, unmanaged: unmanaged.guests.get(name) ?? fate };
  });
  await settled(host, coordinator.stop());
  return {
    seed,
    duration,
    samples,
    moves,
    moved,
    host: hostFate,
    unmanaged: unmanaged.host,
    judged,
    guests,
    violations: invariants.violations,
  };
}

/** Lets simulated time pass until the promise is settled: calls that hang wait for their deadlines, one after another. */
async function settled<T>(host: SimHost, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const end = () => {
    isSettled = true;
  };
  promise.then(end, end);
  while (!isSettled) await host.pass(1000);
  return promise;
}
