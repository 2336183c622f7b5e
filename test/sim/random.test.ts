/**
 * Random scenarios, each run to its rest with every invariant checked. `npm run test:sim -- --runs N` runs as many as one likes; a failure
 * prints the scenario, which `memcoord simulate` takes, and the seed.
 */
import fc from 'fast-check';
import t from 'tap';
import { simulate } from '../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from './scenarios.js';

const RUNS = Number(process.env.SIM_RUNS ?? 50);
/** The same scenarios every time, unless others are asked for: a test that fails now and then teaches people not to sample. */
const SEED = Number(process.env.SIM_SEED ?? 1);

t.test(`${RUNS} random scenarios hold every invariant`, { timeout: 3_600_000 }, async (t) => {
  let moves = 0;
  let simulated = 0;
  await fc.assert(
    fc.asyncProperty(scenarioText, async (text) => {
      const { violations, moves: made, duration } = await simulate(scenarioOf(text));
      moves += made;
      simulated += duration;
      const [first] = violations;
      if (first !== undefined) throw new Error(`${first.invariant} at ${first.at} ms: ${first.guest ?? 'host'} ${first.message}`);
    }),
    { numRuns: RUNS, seed: SEED },
  );
  t.ok(moves > RUNS, `${moves} moves in ${Math.round(simulated / 3_600_000)} simulated hours`);
});
