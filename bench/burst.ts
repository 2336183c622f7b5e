/** The fastest steady rise that a guest survives, found by search. */
import type { Answer, Bench, HostName, Question } from './question.js';
import { COORDINATORS, coordinated, eat, type Meal, rest, theLabOf } from './workload.js';

/** What the guest takes, MiB: with what an idle one uses it then uses 1.8 GiB of its 2. */
const AMOUNT = 1640;
/** Rates tried, MiB/s: doubled from the first while the guest survives, then halved in between, so often. */
const FIRST = 40;
const LAST = 640;
const HALVINGS = 2;

interface Try {
  readonly rate: number;
  readonly meal: Meal;
}
type Searches = Readonly<Record<string, readonly Try[]>>;

async function measure(bench: Bench): Promise<Searches> {
  const lab = theLabOf(bench);
  const searches: Record<string, readonly Try[]> = {};
  for (const [name, contender] of Object.entries(COORDINATORS)) {
    searches[name] = await coordinated(bench, contender, async (coordination) => {
      const tries: Try[] = [];
      const survives = async (rate: number): Promise<boolean> => {
        const guest = lab.guests[tries.length % lab.guests.length];
        if (guest === undefined) throw new Error('the lab has guests');
        await rest(bench, coordination, 0);
        const meal = await eat(bench, guest, coordination, AMOUNT, rate);
        bench.say(
          `${name}: ${rate} MiB/s: ${guest.name} ${meal.fate} (${Math.round(meal.rate)} MiB/s in fact, least spare ${Math.round(meal.leastSpare / 1024)} MiB)`,
        );
        tries.push({ rate, meal });
        // A guest that cannot take memory as fast as it was told to shows nothing at a higher rate.
        return meal.survived && meal.rate > 0.8 * rate;
      };
      let [good, bad] = [0, FIRST];
      while (bad <= LAST && (await survives(bad))) [good, bad] = [bad, 2 * bad];
      for (let halving = 0; halving < HALVINGS; halving++) {
        const middle = Math.round((good + bad) / 2);
        if (await survives(middle)) good = middle;
        else bad = middle;
      }
      return tries;
    });
  }
  return searches;
}

/** The fastest that was survived, MiB/s, as it came out in the guest; 0 = none. */
const best = (tries: readonly Try[] = []): number => Math.max(0, ...tries.filter(({ meal }) => meal.survived).map(({ meal }) => meal.rate));

function answer(found: ReadonlyMap<HostName, Searches>): Answer {
  const searches = found.get('real4') ?? {};
  const [ours, theirs] = [best(searches.memcoord), best(searches['virsh loop, 2 s'])];
  return {
    tables: [
      {
        title: 'The fastest steady rise from idle to 1.8 GiB that a guest survives, without a kill and without swapping',
        columns: ['coordinator', 'survived, MiB/s', 'not survived, MiB/s', 'tries'],
        rows: Object.entries(searches).map(([name, tries]) => {
          const failed = tries.filter(({ meal }) => !meal.survived).map(({ rate }) => rate);
          return { name, cells: [Math.round(best(tries)), failed.length === 0 ? null : Math.min(...failed), tries.length] };
        }),
      },
    ],
    ratios: [{ name: 'burst: memcoord / virsh loop', value: ours / theirs, target: 3, bound: 'atLeast' }],
    plot: {
      kind: 'bars',
      title: 'Fastest steady rise that a guest survives',
      y: { title: 'MiB/s' },
      groups: Object.keys(searches),
      series: [{ name: 'survived', values: Object.values(searches).map((tries) => best(tries)) }],
    },
    notes: [
      `One of four idle guests takes ${AMOUNT} MiB at a steady rate, after all have come to rest. The rate is doubled from ${FIRST} MiB/s while it survives, then halved in between ${HALVINGS} times; what is shown is the rate that came out in the guest.`,
    ],
  };
}

export const burst: Question<Searches> = {
  name: 'burst',
  title: 'How fast may a guest rise?',
  hosts: (mode) => (mode === 'quick' ? [] : ['real4']),
  measure,
  answer,
};
