/**
 * A check that proves the checks: policies that are known to be bad, one rule switched off in each, are caught by the random scenarios, or
 * by a scenario of their own. Each must be caught by the invariant that is meant for it, whatever the others say; a comment reports what
 * caught it.
 */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Coordinator } from '../../../lib/coordinator/coordinator.js';
import * as recording from '../../../lib/coordinator/recording.js';
import type * as account from '../../../lib/policy/account.js';
import type * as cache from '../../../lib/policy/cache.js';
import type * as decide from '../../../lib/policy/decide.js';
import type * as demand from '../../../lib/policy/demand.js';
import type * as estimate from '../../../lib/policy/estimate.js';
import type * as guest from '../../../lib/policy/guest.js';
import { charge, isControlled, overhead } from '../../../lib/policy/guest.js';
import type * as limits from '../../../lib/policy/limits.js';
import type { Invariant } from '../../../lib/sim/invariants.js';
import { simulate } from '../../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from '../scenarios.js';

/** Scenarios that it may take. */
const MOST_RUNS = 400;

/** What is put in the place of a module's own exports, by the module. */
interface Changes {
  readonly limits?: Partial<Record<keyof typeof limits, number>>;
  readonly guest?: (own: typeof guest) => Partial<typeof guest>;
  readonly cache?: (own: typeof cache) => Partial<typeof cache>;
  readonly estimate?: (own: typeof estimate) => Partial<typeof estimate>;
  readonly demand?: (own: typeof demand) => Partial<typeof demand>;
  readonly account?: (own: typeof account) => Partial<typeof account>;
  readonly decide?: (own: typeof decide) => Partial<typeof decide>;
}

interface Variant {
  readonly name: string;
  readonly policy?: Changes;
  readonly recording?: Partial<typeof recording>;
  /** Each of these must be violated. */
  readonly violates: readonly Invariant[];
  /** A scenario of its own, where random ones hardly ever find it. */
  readonly scenario?: string;
}

/** Something else is believed of each guest. */
function believing(change: (draft: guest.Draft) => void): Changes {
  return {
    estimate: (own) => ({
      estimate: (...given) => {
        const seen = own.estimate(...given);
        for (const draft of seen.drafts.guests) change(draft);
        return seen;
      },
    }),
  };
}

/** Something else is made of the account. */
function accounting(change: (books: account.Account, ...given: Parameters<typeof account.account>) => account.Account): Changes {
  return { account: (own) => ({ account: (...given) => change(own.account(...given), ...given) }) };
}

/** Only some of the moves are made. */
function moving(isMade: (move: decide.Decision['moves'][number]) => boolean): Changes {
  return {
    decide: (own) => ({
      decide: (...given) => {
        const { moves, ...others } = own.decide(...given);
        return { moves: moves.filter(isMade), ...others };
      },
    }),
  };
}

/** A belief with other values in some of its fields. */
function seenAs(belief: guest.Belief, fields: Partial<guest.Belief>): guest.Belief {
  return new Proxy(belief, { get: (own, name) => (name in fields ? fields[name as keyof guest.Belief] : Reflect.get(own, name)) });
}

/** The account as it was before evidence counted: who is not controlled may hold its maximum, and all three uses have the same room. */
function oldAccount(books: account.Account, ...[guests, { host }]: Parameters<typeof account.account>): account.Account {
  let capacity = host.available - books.reserve;
  let charged = 0;
  for (const each of guests) {
    capacity += (each.rss > 0 ? each.rss : each.actual || 0) - overhead(each);
    charged += isControlled(each) ? charge(each) : each.maximum || 0;
  }
  const room = Math.min(capacity - charged, books.poolRoom);
  return { ...books, room, reliefRoom: room, optionalRoom: room, newcomer: 0, shortage: Math.max(0, -room) };
}

const variants: readonly Variant[] = [
  {
    name: 'donors first switched off: guests grow on memory that has yet to come',
    policy: {
      decide: (own) => ({
        decide: (subjects, sample, config, books) => {
          const toCome = subjects.claims.reduce((sum, { target, allocation }) => sum + Math.max(0, target - allocation), 0);
          const { room, reliefRoom, optionalRoom } = books;
          const early = { room: room + toCome, reliefRoom: reliefRoom + toCome, optionalRoom: optionalRoom + toCome };
          return own.decide(subjects, sample, config, { ...books, ...early });
        },
      }),
    },
    scenario: `
      host: { memory: 10500MiB, used: 1GiB }
      duration: 70
      guests:
        - { name: gives, max: 8GiB, size: 8GiB, uses: 3GiB, eats: [{ at: 0, size: 4GiB, rate: 190MiB/s }, { at: 40, size: 0MiB }] }
        - { name: takes, count: 3, max: 4GiB, size: 512MiB, uses: 300MiB, swap: 4GiB, eats: [{ at: 41, size: 2GiB, rate: 100MiB/s }] }`,
    violates: ['host'],
  },
  {
    name: 'freshness switched off: guests are shrunk whatever their figures are of',
    policy: {
      decide: (own) => ({
        decide: ({ claims, ...others }, ...given) => {
          const fresh = (belief: guest.Belief) =>
            seenAs(belief, { figuresAt: Number.POSITIVE_INFINITY, size: belief.actual, paired: true });
          return own.decide({ ...others, claims: claims.map(fresh) }, ...given);
        },
      }),
    },
    violates: ['freshness'],
  },
  {
    name: 'the old account: guests that nobody controls are charged their maximum',
    policy: accounting(oldAccount),
    violates: ['dies', 'outlives', 'starves'],
  },
  {
    name: 'need is paid without any deduction: neither for what guests can take nor for grants that have not shown',
    policy: accounting((books) => {
      const room = Math.min(books.available - books.reserve, books.poolRoom);
      return { ...books, room, reliefRoom: room };
    }),
    scenario: `
      host: { memory: 20000MiB, used: 512MiB }
      duration: 90
      guests: [{ name: a, count: 16, max: 4GiB, size: 600MiB, uses: 400MiB, swap: 4GiB, eats: [{ at: 20, size: 3500MiB, rate: 60MiB/s }] }]`,
    violates: ['host'],
  },
  {
    name: 'the reserve switched off',
    policy: {
      limits: { LEAST_RESERVE: 0 },
      account: (own) => ({ account: (guests, sample, config, memory) => own.account(guests, sample, { ...config, reserve: 0 }, memory) }),
    },
    scenario: `
      host: { memory: 3700MiB, used: 512MiB }
      duration: 90
      guests: [{ name: a, count: 2, max: 4GiB, size: 600MiB, uses: 400MiB, swap: 4GiB, eats: [{ at: 20, size: 3500MiB, rate: 60MiB/s }] }]`,
    violates: ['host'],
  },
  {
    name: 'cushions halved',
    policy: {
      demand: (own) => ({
        demand: (draft, ...given) => {
          own.demand(draft, ...given);
          const half = (size: number) => Math.max(Math.min(size, draft.floor), draft.used + (size - draft.used) / 2);
          draft.need = half(draft.need);
          draft.want = half(draft.want);
          draft.critical = Math.min(draft.critical, draft.need);
        },
      }),
    },
    violates: ['starves'],
  },
  {
    name: 'hysteresis switched off: every little change is followed',
    policy: { limits: { GIVE_MARGIN: 0, GROW_BAND: 0 } },
    scenario: `
      host: { memory: 8GiB }
      guests: [{ name: a, max: 1GiB, uses: 300MiB, noise: 16MiB }]`,
    violates: ['rest'],
  },
  {
    name: 'a burst shown that is four times what is so',
    policy: { demand: (own) => ({ survivableBurst: (...given) => 4 * own.survivableBurst(...given) }) },
    scenario: `
      host: { memory: 1500MiB, used: 300MiB }
      duration: 60
      guests: [{ name: a, max: 2GiB, size: 450MiB, uses: 300MiB, eats: [{ at: 30, size: 1500MiB, rate: 30MiB/s }] }]`,
    violates: ['burst'],
  },
  {
    name: 'floors switched off',
    policy: believing((draft) => {
      draft.floor = 0;
    }),
    violates: ['bounds'],
  },
  {
    name: 'ceilings switched off: guests grow up to the maximum, whatever is set',
    policy: believing((draft) => {
      draft.ceiling = draft.maximum;
    }),
    violates: ['bounds'],
  },
  { name: 'the critical spare switched off', policy: { limits: { CRITICAL_SPARE: 0 } }, violates: ['spare'] },
  {
    name: 'bounded steps switched off: all of the spare may be taken at once',
    policy: { guest: (own) => ({ spareToUse: (belief) => 2 * own.spareToUse(belief) }) },
    violates: ['spare'],
  },
  { name: 'the pace switched off', policy: { limits: { GENTLE_RATE: 1e9, BRISK_RATE: 1e9 } }, violates: ['spare'] },
  {
    name: 'progress not watched: guests that do not give are not seen',
    policy: { limits: { PROGRESS_WINDOW: 1e9 } },
    violates: ['stuck'],
  },
  {
    name: 'nobody gives where too much is charged, or somebody waits',
    policy: moving(({ reason }) => reason !== 'make-room' && reason !== 'over-capacity'),
    scenario: `
      host: { memory: 4600MiB, used: 1GiB }
      duration: 110
      config: { surplus: guests }
      guests:
        - { name: caches, max: 4GiB, size: 1GiB, uses: 900MiB, cache: [{ at: 0, size: 3GiB, rate: 200MiB/s }] }
        - { name: works, max: 2GiB, uses: 300MiB, eats: [{ at: 60, size: 1500MiB, rate: 120MiB/s }] }`,
    violates: ['dies'],
  },
  {
    name: 'growth that is needed waits like any other for room for all that all may take',
    policy: accounting(({ optionalRoom, ...books }) => ({ ...books, optionalRoom, room: optionalRoom, reliefRoom: optionalRoom })),
    violates: ['starves'],
  },
  {
    name: 'the thrash rule switched off: guests that fault, swap or read after a shrink do not get it back',
    policy: { limits: { THRASH_SWAP_IN: 1e12, THRASH_FAULTS: 1e12, READS_RISE: 1e12 } },
    scenario: `
      host: { memory: 16GiB }
      duration: 110
      guests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB, hot: 1GiB, mapped: yes }]`,
    violates: ['thrash', 'rereads'],
  },
  {
    name: 'page cache is spare like any other: nobody watches what a guest reads from disk',
    policy: { cache: () => ({ mostToProbe: () => Number.POSITIVE_INFINITY, isWatched: () => false }) },
    violates: ['rereads'],
  },
  {
    name: 'a recording that leaves reboots out',
    recording: {
      toLine: ({ sample, ...rest }: recording.RecordedSample) => recording.toLine({ sample: { ...sample, rebooted: new Set() }, ...rest }),
    },
    violates: ['replay'],
  },
];

/** The policy's modules, each after those that it imports. */
const MODULES = ['limits', 'guest', 'readings', 'cache', 'estimate', 'demand', 'account', 'allocate', 'restore', 'decide', 'plan'] as const;

/** The coordinator with such a policy. A mock reaches the modules that import it, and no further: so they are mocked in turn. */
async function coordinatorWith(t: Test, variant: Variant): Promise<typeof Coordinator> {
  const changes: Readonly<Record<string, object | ((own: never) => object) | undefined>> = { ...variant.policy };
  const beside = (folder: string, modules: Readonly<Record<string, object>>) =>
    Object.fromEntries(Object.entries(modules).map(([name, made]) => [`../../../lib/${folder}/${name}.js`, made]));
  const policy: Record<string, object> = {};
  for (const name of MODULES) {
    const own = await t.mockImport<object>(`../../../lib/policy/${name}.js`, beside('policy', policy));
    const change = changes[name];
    policy[name] = { ...own, ...(typeof change === 'function' ? change(own as never) : change) };
  }
  const snapshot = await t.mockImport<object>('../../../lib/coordinator/snapshot.js', beside('policy', policy));
  const made = await t.mockImport<{ Coordinator: typeof Coordinator }>('../../../lib/coordinator/coordinator.js', {
    ...beside('policy', policy),
    ...beside('coordinator', { snapshot, recording: { ...recording, ...variant.recording } }),
  });
  return made.Coordinator;
}

for (const variant of variants) {
  t.test(`caught: ${variant.name}`, { timeout: 600_000 }, async (t) => {
    const coordinator = await coordinatorWith(t, variant);
    const caughtBy = new Set<Invariant>();
    let runs = 0;
    const isCaught = async (text: string) => {
      runs++;
      const { violations } = await simulate(scenarioOf(text), { coordinator });
      // What is recorded is replayed by the policy as it is: that tells nothing of a variant of it.
      const caught = violations.filter(({ invariant }) => invariant !== 'replay' || variant.recording !== undefined);
      if (caught.every(({ invariant }) => caughtBy.has(invariant))) return false;
      // What the policy as it is does too is no proof.
      const usual = new Set((await simulate(scenarioOf(text))).violations.map(({ invariant }) => invariant));
      for (const { invariant, guest, at, message } of caught) {
        if (caughtBy.has(invariant) || usual.has(invariant)) continue;
        caughtBy.add(invariant);
        t.comment(`${invariant} in scenario ${runs}, at ${Math.round(at)} ms: ${guest ?? 'the host'} ${message}`);
      }
      return variant.violates.every((invariant) => caughtBy.has(invariant));
    };
    if (variant.scenario !== undefined) await isCaught(variant.scenario);
    else
      await fc.check(
        fc.asyncProperty(scenarioText, async (text) => !(await isCaught(text))),
        { numRuns: MOST_RUNS, endOnFailure: true, seed: 1 },
      );
    for (const invariant of variant.violates) t.ok(caughtBy.has(invariant), `${invariant} is violated in one of ${runs} scenarios`);
  });
}
