/** How long a guest that suddenly needs memory waits for it. */
import type { Answer, Bench, HostName, Mode, Question } from './question.js';
import { median } from './statistics.js';
import { COORDINATORS, coordinated, eat, type Meal, rest, theLabOf } from './workload.js';

/** What the guest suddenly needs, MiB, and how fast it takes it, MiB/s. */
const NEED = 400;
const RATE = 200;
/** memcoord's target, ms. */
const RAISED_WITHIN = 300;

const ROUNDS: Readonly<Record<Mode, number>> = { quick: 1, normal: 3, full: 5 };

/** What came out, by contender, round after round. */
type Meals = Readonly<Record<string, readonly Meal[]>>;

async function measure(bench: Bench): Promise<Meals> {
  const lab = theLabOf(bench);
  const meals: Record<string, Meal[]> = {};
  const asked = Object.entries(COORDINATORS).filter(([name]) => bench.mode !== 'quick' || name === 'memcoord');
  for (let round = 0; round < ROUNDS[bench.mode]; round++) {
    for (const [name, contender] of asked) {
      const guest = lab.guests[round % lab.guests.length];
      if (guest === undefined) throw new Error('the lab has guests');
      const meal = await coordinated(bench, contender, async (coordination) => {
        await rest(bench, coordination, 0);
        return await eat(bench, guest, coordination, NEED, RATE);
      });
      bench.say(`${name}: ${guest.name} ${meal.fate}, target raised after ${told(meal.raisedMs)}, all there after ${told(meal.heldMs)}`);
      meals[name] = [...(meals[name] ?? []), meal];
    }
  }
  return meals;
}

const told = (ms: number | null): string => (ms === null ? 'no time: never' : `${Math.round(ms)} ms`);
/** What never came took for ever. */
const times = (meals: readonly Meal[], of: (meal: Meal) => number | null): number[] =>
  meals.map((meal) => of(meal) ?? Number.POSITIVE_INFINITY);

function answer(found: ReadonlyMap<HostName, Meals>): Answer {
  const meals = found.get('real4') ?? {};
  const ours = times(meals.memcoord ?? [], ({ raisedMs }) => raisedMs);
  const theirs = times(meals['virsh loop, 2 s'] ?? [], ({ raisedMs }) => raisedMs);
  const cell = (ms: number): number | string => (Number.isFinite(ms) ? Math.round(ms) : 'never');
  return {
    tables: [
      {
        title: `A guest suddenly needs ${NEED} MiB, at ${RATE} MiB/s`,
        columns: ['coordinator', 'target raised p50, ms', 'worst, ms', 'memory there p50, ms', 'least spare, MiB', 'survived'],
        rows: Object.entries(meals).map(([name, all]) => {
          const raised = times(all, ({ raisedMs }) => raisedMs);
          return {
            name,
            cells: [
              cell(median(raised)),
              cell(Math.max(...raised)),
              cell(median(times(all, ({ heldMs }) => heldMs))),
              Math.round(Math.min(...all.map(({ leastSpare }) => leastSpare)) / 1024),
              `${all.filter(({ survived }) => survived).length} of ${all.length}`,
            ],
          };
        }),
      },
    ],
    ratios: [
      {
        name: `reaction: first byte eaten to target raised, worst of ${ours.length}, ms`,
        value: Math.max(...ours),
        target: RAISED_WITHIN,
        bound: 'atMost',
      },
      ...(theirs.length === 0
        ? []
        : [{ name: 'reaction: memcoord / virsh loop, p50', value: median(ours) / median(theirs), target: 0.5, bound: 'atMost' } as const]),
    ],
    plot: {
      kind: 'lines',
      title: `A guest suddenly needs ${NEED} MiB: its balloon`,
      x: { title: 'time since the first byte, s' },
      y: { title: 'balloon, MiB' },
      series: Object.entries(meals).map(([name, all]) => ({
        name,
        points: (all.at(-1)?.series ?? []).map(({ ms, balloon }) => [ms / 1000, balloon / 1024] as const),
      })),
      marks: [{ x: 0, name: 'first byte' }],
    },
    notes: [
      `Each run begins with four idle guests at rest under the coordinator. One takes ${NEED} MiB at ${RATE} MiB/s; "there" is when it holds all of it, which takes ${(NEED / RATE).toFixed(0)} s at best. ` +
        'The first byte is dated by the guest, the raise by the line of the log or the shell loop that tells of it.',
      'The least spare is MemAvailable as the guest itself saw it.',
    ],
  };
}

export const reaction: Question<Meals> = {
  name: 'reaction',
  title: 'How long does a guest that suddenly needs memory wait for it?',
  hosts: () => ['real4'],
  measure,
  answer,
};
