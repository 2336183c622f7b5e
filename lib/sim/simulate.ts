/** Runs a scenario: a coordinator on a simulated host, as fast as the machine allows. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { Coordinator, type MoveOutcome } from '../coordinator/coordinator.js';
import type { Notice } from '../coordinator/messages.js';
import { fromLine, type RecordedSample, replay } from '../coordinator/recording.js';
import { schedule } from './faults.js';
import { SimHost } from './host.js';
import { Invariants, type Violation } from './invariants.js';
import type { Scenario } from './scenario.js';

export interface SimulationOptions {
  /** Told of each move, with the time, ms. */
  readonly onMove?: (at: number, move: MoveOutcome) => void;
  readonly onNotice?: (at: number, notice: Notice) => void;
  /** Told of what a recording would have. */
  readonly onRecord?: (sample: Readonly<Record<string, unknown>>) => void;
  /** Another coordinator than ours, for tests of the tests. */
  readonly coordinator?: typeof Coordinator;
}

/** What became of a guest. KiB. */
export interface GuestResult {
  readonly name: string;
  readonly actual: number;
  readonly used: number;
  readonly leastSpare: number;
  readonly kills: number;
  readonly moves: number;
}

export interface SimulationResult {
  readonly seed: number;
  /** Ms. */
  readonly duration: number;
  readonly samples: number;
  readonly moves: number;
  /** Sum of the changes of targets, KiB. */
  readonly moved: number;
  readonly leastAvailable: number;
  /** Whether there was time enough to see the targets come to rest. */
  readonly restJudged: boolean;
  /** Those that were there at the end, and those that had gone. */
  readonly guests: readonly GuestResult[];
  readonly violations: readonly Violation[];
}

/** Deterministic: the same scenario gives the same result. */
export async function simulate(scenario: Scenario, options: SimulationOptions = {}): Promise<SimulationResult> {
  const { onMove, onNotice, onRecord, coordinator: Kind = Coordinator } = options;
  const { seed, duration, restAt, memory, used, config, guests: scenarioGuests } = scenario;
  const host = new SimHost({
    total: memory,
    used,
    seed,
    turns: 1,
    guests: scenarioGuests.filter(({ starts }) => starts === 0).map(({ spec }) => spec),
  });
  const invariants = new Invariants(host, config, restAt);
  schedule(host, scenario, () => invariants.disturb());
  const random = xoroshiro128plus(seed);
  const coordinator = new Kind({ connect: host.connect, config, time: host.time, random: () => uniformInt(random, 0, 0xffff) / 0x10000 });
  const seen = new Map(host.guests.map((guest) => [guest.uuid, guest]));
  const movesOf = new Map<string, number>();
  let samples = 0;
  let moves = 0;
  let moved = 0;
  let leastAvailable = host.available;
  const recorded: RecordedSample[] = [];
  coordinator.on('sample', (snapshot) => {
    samples++;
    for (const guest of host.guests) seen.set(guest.uuid, guest);
    leastAvailable = Math.min(leastAvailable, host.available);
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
    // By way of the text: what a file would have.
    const sample = fromLine(JSON.stringify({ kind: 'sample', ...line }));
    if (sample !== null) recorded.push(sample);
  });
  const started = coordinator.start();
  await host.pass(duration);
  await started;
  invariants.finish();
  for (const { at, recorded: was, replayed } of replay(recorded, config).differences)
    invariants.violations.push({
      invariant: 'replay',
      at,
      guest: null,
      message: `${was.length} moves recorded, ${replayed.length} planned again, and they differ`,
    });
  const restJudged = invariants.judgesRest;
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  const guests = [...seen.values()].map((guest) => ({
    name: guest.spec.name,
    actual: guest.actual,
    used: guest.used,
    leastSpare: guest.leastSpare,
    kills: guest.kills,
    moves: movesOf.get(guest.spec.name) ?? 0,
  }));
  return { seed, duration, samples, moves, moved, leastAvailable, restJudged, guests, violations: invariants.violations };
}
