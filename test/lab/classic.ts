/** The three classic tests on the lab's guests. Runs are kept in .lab/results for scripts/plots. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from './guests.js';
import { judge } from './judge.js';
import { Virsh } from './observer.js';
import { runScenario } from './scenario.js';
import { LAB, LabError } from './shell.js';
import type { Tap } from './tap.js';

const GiB = 1024 * 1024;

export type Test = 1 | 2 | 3;

/** A test and its pool, GiB. */
export type ClassicRun = readonly [test: Test, pool: number];

const TESTS: readonly Test[] = [1, 2, 3];
const POOLS = [8, 6, 3];
export const SHORT: readonly ClassicRun[] = [
  [1, 8],
  [2, 6],
  [3, 3],
];

/** All tests with all pools, or those chosen. */
export function classicRuns(test: string | undefined, pool: string | undefined): ClassicRun[] {
  const all = TESTS.flatMap((number) => POOLS.map((gib) => [number, gib] as const));
  return all.filter(([number, gib]) => (test ?? String(number)) === String(number) && (pool ?? String(gib)) === String(gib));
}

/** @param coordinator another one than memcoord to be judged: a shell's command line. */
export async function runClassic(
  runs: readonly ClassicRun[],
  lab: Lab,
  coordinator: string | undefined,
  { tell, result }: Tap,
  signal: AbortSignal,
): Promise<void> {
  const virsh = new Virsh(lab.uri);
  try {
    await mkdir(join(LAB, 'results'), { recursive: true });
    for (const [test, gib] of runs) {
      const title = `test ${test}, pool ${gib} GiB`;
      tell(title);
      process.env.LAB_POOL_MIB = String(gib * 1024);
      process.env.LAB_URI = lab.uri;
      try {
        const recording = await runScenario(lab, { test, pool: gib * GiB, coordinator, virsh, tell, signal });
        const verdicts = judge(recording);
        for (const verdict of verdicts) result(verdict.ok, `${title}: ${verdict.name}`, verdict.detail);
        await writeFile(
          join(LAB, 'results', `test${test}-${gib}GiB.json`),
          JSON.stringify({ recording, verdicts, coordinator: coordinator ?? 'memcoord' }),
        );
      } catch (error) {
        if (signal.aborted) throw new LabError('interrupted');
        result(false, `${title}: is carried out`, error instanceof Error ? error.message : String(error));
      }
    }
  } finally {
    virsh.end();
  }
}
