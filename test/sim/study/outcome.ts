/** `outcome.js RUNS HOSTS`: what the policy makes of random scenarios and of honest hosts, as one line of JSON. */
import fc from 'fast-check';
import { HARMS } from '../../../lib/sim/harm.js';
import { simulate } from '../../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from '../scenarios.js';
import { reclaimedNow, sumOf } from '../use.js';

export interface Outcome {
  /** Scenarios in which a guest or the host fares worse than unmanaged (docs/simulator.md), and those in which a rule is broken. */
  readonly harmed: number;
  readonly broken: number;
  /** On the honest hosts, GiB·h. */
  readonly reclaimed: number;
  /** In the scenarios. */
  readonly moves: number;
}

const [runs = 0, hosts = 0] = process.argv.slice(2).map(Number);
let harmed = 0;
let broken = 0;
let moves = 0;
for (const text of fc.sample(scenarioText, { numRuns: runs, seed: 1 })) {
  const { violations, moves: made } = await simulate(scenarioOf(text));
  moves += made;
  if (violations.some(({ invariant }) => invariant in HARMS)) harmed++;
  if (violations.some(({ invariant }) => !(invariant in HARMS))) broken++;
}
const { reclaimed } = await reclaimedNow({}, hosts);
console.log(JSON.stringify({ harmed, broken, reclaimed: sumOf(reclaimed), moves } satisfies Outcome));
