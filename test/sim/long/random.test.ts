/**
 * Random scenarios, each run managed and unmanaged with every invariant checked. `npm run test:sim -- --runs N` runs as many as one likes;
 * a failure prints the scenario, which `memcoord simulate` takes, and the seed.
 */
import fc from 'fast-check';
import t from 'tap';
import { HARMS, type Harm } from '../../../lib/sim/harm.js';
import { simulate } from '../../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from '../scenarios.js';

const RUNS = Number(process.env.SIM_RUNS ?? 50);
/** The same scenarios every time, unless others are asked for: a test that fails now and then teaches people not to look at it. */
const SEED = Number(process.env.SIM_SEED ?? 1);
/** Part of the scenarios in which the condition of a harm must be met: what is hardly ever judged is not kept. */
const LEAST_JUDGED: Partial<Readonly<Record<Harm, number>>> = { dies: 0.3, outlives: 0.3 };

/**
 * Part of the scenarios in which a harm is still done, at most: it can only go down. Of seed 1 three of 2,000 are left: cache that is given back
 * too slowly, a host that is drained below its reserve, and need that is paid too late (docs/simulator.md).
 */
const MOST_HARMED = 0.0015;

t.test(`${RUNS} random scenarios hold every invariant`, { timeout: 3_600_000 }, async (t) => {
  let moves = 0;
  let simulated = 0;
  let runs = 0;
  let harmed = 0;
  const judgedIn = new Map<Harm, number>();
  await fc.assert(
    fc.asyncProperty(scenarioText, async (text) => {
      const { violations, moves: made, duration, judged } = await simulate(scenarioOf(text));
      runs++;
      moves += made;
      simulated += duration;
      for (const harm of Object.keys(HARMS) as Harm[]) judgedIn.set(harm, (judgedIn.get(harm) ?? 0) + (judged[harm] ? 1 : 0));
      const harm = violations.find(({ invariant }) => invariant in HARMS);
      if (harm !== undefined) {
        harmed++;
        t.comment(`${harm.invariant} in scenario ${runs}, at ${harm.at} ms: ${harm.guest ?? 'the host'} ${harm.message}`);
      }
      const broken = violations.find(({ invariant }) => !(invariant in HARMS));
      if (broken !== undefined) throw new Error(`${broken.invariant} at ${broken.at} ms: ${broken.guest ?? 'host'} ${broken.message}`);
    }),
    { numRuns: RUNS, seed: SEED },
  );
  t.ok(harmed <= runs * MOST_HARMED, `harm is done in ${harmed} of ${runs} scenarios`);
  t.ok(moves > RUNS, `${moves} moves in ${Math.round(simulated / 3_600_000)} simulated hours`);
  for (const [harm, count] of judgedIn)
    t.ok(count >= runs * (LEAST_JUDGED[harm] ?? 0), `${harm}: the condition was met in ${count} of ${runs} scenarios`);
});
