/** A check that proves the checks: policies that are known to be bad, one rule switched off in each, are caught by the random scenarios. */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Coordinator } from '../../lib/coordinator/coordinator.js';
import * as recording from '../../lib/coordinator/recording.js';
import * as safety from '../../lib/policy/decide.js';
import * as demand from '../../lib/policy/demand.js';
import * as model from '../../lib/policy/estimate.js';
import * as belief from '../../lib/policy/guest.js';
import * as limits from '../../lib/policy/limits.js';
import type { Invariant } from '../../lib/sim/invariants.js';
import { simulate } from '../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from './scenarios.js';

/** Scenarios that it may take. */
const MOST_RUNS = 400;

interface Variant {
  readonly name: string;
  /** What is put in the place of the policy's own. */
  readonly belief?: object;
  readonly limits?: object;
  readonly safety?: object;
  readonly demand?: object;
  readonly model?: object;
  readonly recording?: object;
  readonly violates: Invariant;
}

/** The model, with something else believed of each guest. */
function believing(change: (draft: belief.Draft) => void): object {
  return {
    observe: (...given: Parameters<typeof model.observe>) => {
      const seen = model.observe(...given);
      for (const draft of seen.drafts.guests) change(draft);
      return seen;
    },
  };
}

const variants: readonly Variant[] = [
  {
    name: 'donors first switched off: guests grow on memory that has yet to come',
    safety: {
      growth: (guests: readonly belief.Belief[]) => Float64Array.from(guests, ({ target, allocation }) => Math.max(target, allocation)),
    },
    violates: 'host',
  },
  {
    name: 'freshness switched off: guests are shrunk whatever their figures are of',
    safety: { readyToShrink: ({ phase }: belief.Belief) => phase === 'steady' },
    violates: 'freshness',
  },
  {
    name: 'the reserve switched off',
    safety: {
      account: (...given: Parameters<typeof safety.account>) => {
        const made = safety.account(...given);
        return { ...made, capacity: made.capacity + made.reserve };
      },
    },
    violates: 'host',
  },
  { name: 'hysteresis switched off: every little change is followed', limits: { GIVE_MARGIN: 0, GROW_BAND: 0 }, violates: 'rest' },
  {
    name: 'a burst shown that is four times what is so',
    demand: { survivableBurst: (...given: Parameters<typeof demand.survivableBurst>) => 4 * demand.survivableBurst(...given) },
    violates: 'burst',
  },
  {
    name: 'floors switched off',
    model: believing((draft) => {
      draft.floor = 0;
    }),
    violates: 'bounds',
  },
  {
    name: 'ceilings switched off: guests grow up to the maximum, whatever is set',
    model: believing((draft) => {
      draft.ceiling = draft.maximum;
    }),
    violates: 'bounds',
  },
  { name: 'the critical spare switched off', limits: { CRITICAL_SPARE: 0 }, violates: 'spare' },
  {
    name: 'bounded steps switched off: all that is too much is taken at once',
    safety: {
      step: ({ target, allocation }: belief.Belief, _brisk: boolean, _at: number, most: number) => Math.min(target - allocation, most),
    },
    violates: 'spare',
  },
  { name: 'the pace switched off', limits: { GENTLE_RATE: 1e9, BRISK_RATE: 1e9 }, violates: 'spare' },
  { name: 'progress not watched: guests that do not give are not seen', limits: { PROGRESS_WINDOW: 1e9 }, violates: 'stuck' },
  {
    name: 'nobody gives where too much is charged, or somebody waits',
    safety: {
      step: (...given: Parameters<typeof safety.step>) => (given[1] ? 0 : safety.step(...given)),
    },
    violates: 'starves',
  },
  {
    name: 'the thrash rule switched off: guests that fault or swap after a shrink do not get it back',
    limits: { THRASH_SWAP_IN: 1e12, THRASH_FAULTS: 1e12 },
    violates: 'thrash',
  },
  {
    name: 'a recording that leaves reboots out',
    recording: {
      toLine: ({ sample, ...rest }: recording.RecordedSample) => recording.toLine({ sample: { ...sample, rebooted: new Set() }, ...rest }),
    },
    violates: 'replay',
  },
];

/** The coordinator with such a policy. A mock reaches the modules that import it, and no further: so they are mocked in turn. */
async function coordinatorWith(t: Test, variant: Variant): Promise<typeof Coordinator> {
  const path = (name: string) => `../../lib/policy/${name}.js`;
  const beliefs = { [path('belief')]: { ...belief, ...variant.belief }, [path('limits')]: { ...limits, ...variant.limits } };
  const demands = { ...(await t.mockImport<object>(path('demand'), beliefs)), ...variant.demand };
  const bounded = await t.mockImport<object>(path('safety'), { ...beliefs, [path('demand')]: demands });
  const balloon = await t.mockImport<object>(path('balloon'), beliefs);
  const seen = await t.mockImport<object>(path('model'), { ...beliefs, [path('balloon')]: balloon });
  const plan = await t.mockImport<object>(path('plan'), {
    ...beliefs,
    [path('demand')]: demands,
    [path('safety')]: { ...bounded, ...variant.safety },
    [path('model')]: { ...seen, ...variant.model },
  });
  const made = await t.mockImport<{ Coordinator: typeof Coordinator }>('../../lib/coordinator/coordinator.js', {
    [path('plan')]: plan,
    '../../lib/coordinator/recording.js': { ...recording, ...variant.recording },
  });
  return made.Coordinator;
}

for (const variant of variants) {
  t.test(`caught: ${variant.name}`, { timeout: 600_000 }, async (t) => {
    const coordinator = await coordinatorWith(t, variant);
    let runs = 0;
    const found = await fc.check(
      fc.asyncProperty(scenarioText, async (text) => {
        runs++;
        const { violations } = await simulate(scenarioOf(text), { coordinator });
        return !violations.some(({ invariant }) => invariant === variant.violates);
      }),
      { numRuns: MOST_RUNS, endOnFailure: true, seed: 1 },
    );
    t.ok(found.failed, `${variant.violates} is violated in one of ${runs} scenarios`);
  });
}
