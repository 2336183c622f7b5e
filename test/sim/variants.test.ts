/** A check that proves the checks: policies that are known to be bad, one rule switched off in each, are caught by the random scenarios. */
import fc from 'fast-check';
import t from 'tap';
import type { Coordinator } from '../../lib/coordinator.js';
import * as belief from '../../lib/policy/belief.js';
import * as demand from '../../lib/policy/demand.js';
import * as limits from '../../lib/policy/limits.js';
import * as safety from '../../lib/policy/safety.js';
import type { Invariant } from '../../lib/sim/invariants.js';
import { simulate } from '../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from './scenarios.js';

/** Scenarios that it may take. */
const MOST_RUNS = 400;

interface Variant {
  readonly name: string;
  /** Modules with a rule switched off, by their paths from here. */
  readonly modules: Readonly<Record<string, object>>;
  readonly violates: Invariant;
}

const variants: readonly Variant[] = [
  {
    name: 'donors first switched off: guests grow on memory that has yet to come',
    modules: {
      '../../lib/policy/safety.js': {
        ...safety,
        growth: (guests: readonly belief.Belief[]) => Float64Array.from(guests, ({ target, allocation }) => Math.max(target, allocation)),
      },
    },
    violates: 'capacity',
  },
  {
    name: 'freshness switched off: guests are shrunk whatever their figures are of',
    modules: { '../../lib/policy/safety.js': { ...safety, readyToShrink: ({ phase }: belief.Belief) => phase === 'steady' } },
    violates: 'freshness',
  },
  {
    name: 'charge at the maximum switched off: guests without a driver count by their balloons',
    modules: {
      '../../lib/policy/belief.js': {
        ...belief,
        charge: ({ target, actual }: belief.Belief) => Math.max(target || 0, actual || 0),
      },
    },
    violates: 'capacity',
  },
  {
    name: 'the reserve switched off',
    modules: {
      '../../lib/policy/safety.js': {
        ...safety,
        account: (...given: Parameters<typeof safety.account>) => {
          const made = safety.account(...given);
          return { ...made, capacity: made.capacity + made.reserve };
        },
      },
    },
    violates: 'capacity',
  },
  {
    name: 'hysteresis switched off: every little change is followed',
    modules: { '../../lib/policy/limits.js': { ...limits, GIVE_MARGIN: 0, GROW_BAND: 0 } },
    violates: 'rest',
  },
  {
    name: 'a burst shown that is four times what is so',
    modules: {
      '../../lib/policy/demand.js': {
        ...demand,
        survivableBurst: (...given: Parameters<typeof demand.survivableBurst>) => 4 * demand.survivableBurst(...given),
      },
    },
    violates: 'burst',
  },
];

for (const { name, modules, violates } of variants) {
  t.test(`caught: ${name}`, { timeout: 600_000 }, async (t) => {
    const variant = await t.mockImport<{ Coordinator: typeof Coordinator }>('../../lib/coordinator.js', modules);
    let runs = 0;
    const found = await fc.check(
      fc.asyncProperty(scenarioText, async (text) => {
        runs++;
        const { violations } = await simulate(scenarioOf(text), { coordinator: variant.Coordinator });
        return !violations.some(({ invariant }) => invariant === violates);
      }),
      { numRuns: MOST_RUNS, endOnFailure: true, seed: 1 },
    );
    t.ok(found.failed, `${violates} is violated in one of ${runs} scenarios`);
  });
}
