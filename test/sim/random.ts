/**
 * Random scenarios, each run managed and unmanaged with every invariant checked. `npm run test:sim -- --runs N` runs as many as one likes; a
 * failure prints the scenario, which `memcoord simulate` takes.
 */
import fc from 'fast-check';
import type { Test } from 'tap';
import { HARMS, type Harm } from '../../lib/sim/harm.js';
import { simulate } from '../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from './scenarios.js';

const RUNS = Number(process.env.SIM_RUNS ?? 50);
/** The same scenarios every time, unless others are asked for: a test that fails now and then teaches people not to look at it. */
const SEED = Number(process.env.SIM_SEED ?? 1);
/** Part of the scenarios in which the condition of a harm must be met: what is hardly ever judged is not kept. */
const LEAST_JUDGED: Partial<Readonly<Record<Harm, number>>> = { dies: 0.3, outlives: 0.3 };

/** Every second scenario of the seed, from the first (`part` 0) or the second (1) on: the two halves run side by side. */
export async function runRandom(t: Test, part: 0 | 1): Promise<void> {
  let moves = 0;
  let simulated = 0;
  const judgedIn = new Map<Harm, number>((Object.keys(HARMS) as Harm[]).map((harm) => [harm, 0]));
  const texts = [...fc.sample(scenarioText, { numRuns: RUNS, seed: SEED }).entries()].filter(([i]) => i % 2 === part);
  if (texts.length === 0) return void t.pass('there is none in this half');
  for (const [i, text] of texts) {
    const { violations, moves: made, duration, judged } = await simulate(scenarioOf(text));
    moves += made;
    simulated += duration;
    for (const [harm, count] of judgedIn) judgedIn.set(harm, count + (judged[harm] ? 1 : 0));
    const [broken] = violations;
    if (broken === undefined) continue;
    t.comment(text);
    t.fail(`${broken.invariant} in scenario ${i}, at ${broken.at} ms: ${broken.guest ?? 'the host'} ${broken.message}`);
  }
  t.ok(moves > texts.length, `${moves} moves in ${Math.round(simulated / 3_600_000)} simulated hours`);
  for (const [harm, count] of judgedIn)
    t.ok(count >= texts.length * (LEAST_JUDGED[harm] ?? 0), `${harm}: the condition was met in ${count} of ${texts.length} scenarios`);
}
