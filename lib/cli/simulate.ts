/** `memcoord simulate`: runs a scenario on a simulated host and prints the result. */
import { z } from 'zod';
import { printable } from '../common/text.js';
import { formatSize } from '../common/units.js';
import { readSetting } from '../config/settings.js';
import type { MoveOutcome } from '../coordinator/coordinator.js';
import type { Notice } from '../coordinator/messages.js';
import { INVARIANTS, type Invariant, type Violation } from '../sim/invariants.js';
import { loadScenario } from '../sim/scenario.js';
import { simulate as run, type SimulationResult } from '../sim/simulate.js';
import type { HostFate } from '../sim/unmanaged.js';
import { FAILED } from './failure.js';
import { createLog, logMove, logNotice } from './log.js';
import { openRecording } from './record.js';
import { keepInput, optionValue, printOut } from './session.js';
import { mib, table } from './table.js';

export interface SimulateOptions {
  readonly seed?: string;
  readonly json?: boolean;
  readonly log?: boolean;
  readonly record?: string;
}

const wholeNumber = z
  .string()
  .regex(/^\d{1,9}$/, 'must be a whole number')
  .transform(Number);

/** @returns 0, or 1 where an invariant was violated. */
export async function simulate(file: string, options: SimulateOptions, print = printOut): Promise<number> {
  const seed = options.seed === undefined ? undefined : optionValue('--seed', readSetting(wholeNumber, options.seed));
  const scenario = await loadScenario(file, seed);
  const { record } = options;
  await keepInput(record, file);
  const recording =
    record === undefined ? null : await openRecording(record, (error) => process.stderr.write(`memcoord: ${record}: ${error.message}\n`));
  recording?.header(scenario.config);
  let now = 0;
  const log = createLog({ format: 'pretty', color: false, write: (line) => process.stderr.write(line), simulated: () => now });
  const at =
    <Rest extends readonly unknown[]>(tell: (...rest: Rest) => void) =>
    (time: number, ...rest: Rest): void => {
      now = time;
      tell(...rest);
    };
  const result = await run(scenario, {
    ...(options.log === true
      ? { onMove: at((move: MoveOutcome) => logMove(log, move, false)), onNotice: at((notice: Notice) => logNotice(log, notice)) }
      : {}),
    ...(recording === null ? {} : { onRecord: (sample) => recording.write(sample) }),
  });
  await recording?.close();
  print(options.json === true ? JSON.stringify(result, null, 2) : resultText(result));
  return result.violations.length === 0 ? 0 : FAILED;
}

/** The result for people. Sizes in MiB. */
export function resultText({
  seed,
  duration,
  samples,
  moves,
  moved,
  host,
  unmanaged,
  guests,
  violations,
  judged,
}: SimulationResult): string {
  const rows = guests.map((guest) => [
    guest.name,
    mib(guest.actual),
    mib(guest.used),
    mib(guest.leastSpare),
    mib(guest.unmanaged.leastSpare),
    String(guest.kills),
    String(guest.unmanaged.kills),
    String(guest.moves),
  ]);
  return [
    `${duration / 1000} s simulated with seed ${seed}: ${samples} samples, ${moves} moves of ${formatSize(moved)} in all`,
    '',
    ...table(
      [['HOST', 'LEAST AVAILABLE', 'KILLED BY IT', 'RECLAIMED GIB·H'], hostRow('managed', host), hostRow('unmanaged', unmanaged)],
      1,
    ),
    '',
    ...table([['GUEST', 'ACTUAL', 'USED', 'LEAST SPARE', 'UNMANAGED', 'KILLED', 'UNMANAGED', 'MOVES'], ...rows], 1),
    '',
    ...Object.entries(INVARIANTS).map(([name, promise]) => verdict(name as Invariant, promise, violations, judged)),
  ].join('\n');
}

function hostRow(name: string, { leastAvailable, kills, reclaimedGiBh }: HostFate): string[] {
  return [name, mib(leastAvailable), String(kills), reclaimedGiBh.toFixed(3)];
}

function verdict(name: Invariant, promise: string, violations: readonly Violation[], judged: SimulationResult['judged']): string {
  const found = violations.filter(({ invariant }) => invariant === name);
  const first = found[0];
  if (first === undefined) return `${judged[name] ? 'held'.padEnd(10) : 'not judged'}  ${promise}`;
  const more = found.length > 1 ? ` (and ${found.length - 1} more)` : '';
  return printable(`VIOLATED    ${promise}: at ${(first.at / 1000).toFixed(1)} s ${first.guest ?? 'the host'} ${first.message}${more}`);
}
