/** A guest that has idled suddenly takes 600 MiB: does its eater live? And does `memcoord status` say beforehand what it would survive? */
import { say } from '../test/lab/agent.js';
import type { Answer, Bench, HostName, Mode, Question } from './question.js';
import { COORDINATORS, coordinated, eat, type Meal, rest, settle, survivableBurst, theLabOf } from './workload.js';

const STEP = 600;
const RATE = 200;
/** How long the guest idles before, ms. */
const IDLE = 60_000;

/** Runs with room, by coordinator. */
const RUNS = {
  memcoord: { quick: 0, normal: 4, full: 10 },
  'virsh loop, 2 s': { quick: 0, normal: 2, full: 4 },
} as const satisfies Readonly<Partial<Record<keyof typeof COORDINATORS, Readonly<Record<Mode, number>>>>>;

/** A pool without room: four guests at their floor of 256 MiB, and nothing to give. */
const NO_ROOM = ['--pool', '1024MiB'];
/** How long the burst lasts that `status` counts on, s. */
const BURST_LASTS = 3;
/** Parts of the shown burst that are tried. The guest should survive the first ones and not the last ones. */
const TRIED: Readonly<Record<Mode, readonly number[]>> = {
  quick: [],
  normal: [0.75, 1.25],
  full: [0.5, 0.75, 0.85, 0.95, 1.05, 1.15, 1.25, 1.5],
};

interface Steps {
  readonly room: Readonly<Record<string, readonly Meal[]>>;
  /** Without room: the burst shown beforehand, MiB/s, and the part of it that was tried. */
  readonly noRoom: readonly { readonly shown: number; readonly part: number; readonly meal: Meal }[];
}

async function measure(bench: Bench): Promise<Steps> {
  const lab = theLabOf(bench);
  const room: Record<string, Meal[]> = {};
  for (const name of ['memcoord', 'virsh loop, 2 s'] as const) {
    const runs = RUNS[name];
    const meals = await coordinated(bench, COORDINATORS[name], async (coordination) => {
      const all: Meal[] = [];
      for (let run = 0; run < runs[bench.mode]; run++) {
        const guest = lab.guests[run % lab.guests.length];
        if (guest === undefined) throw new Error('the lab has guests');
        // Those whose turn comes later idle on, and what the last one has eaten is given back meanwhile.
        if (run % lab.guests.length === 0) await rest(bench, coordination, IDLE);
        else await settle(bench, coordination);
        const meal = await eat(bench, guest, coordination, STEP, RATE);
        await say(guest.name, guest.socket, 'free', 30_000);
        bench.say(`${name}: ${guest.name} ${meal.fate}, least spare ${Math.round(meal.leastSpare / 1024)} MiB`);
        all.push(meal);
      }
      return all;
    });
    if (meals.length > 0) room[name] = meals;
  }
  const noRoom = await coordinated(bench, { kind: 'memcoord', options: NO_ROOM }, async (coordination) => {
    const tries: { shown: number; part: number; meal: Meal }[] = [];
    for (const part of TRIED[bench.mode]) {
      const guest = lab.guests[tries.length % lab.guests.length];
      if (guest === undefined) throw new Error('the lab has guests');
      await rest(bench, coordination, 0);
      const shown = await survivableBurst(lab, guest, NO_ROOM);
      const rate = shown * part;
      const meal = await eat(bench, guest, coordination, rate * BURST_LASTS, rate);
      bench.say(`no room: ${guest.name} told to survive ${shown.toFixed(0)} MiB/s, tried ${rate.toFixed(0)}: ${meal.fate}`);
      tries.push({ shown, part, meal });
    }
    return tries;
  });
  return { room, noRoom };
}

function answer(found: ReadonlyMap<HostName, Steps>): Answer {
  const { room = {}, noRoom = [] } = found.get('real4') ?? {};
  const alive = (meals: readonly Meal[]): number => meals.filter(({ survived }) => survived).length;
  const ours = room.memcoord ?? [];
  const borne = noRoom.filter(({ part, meal }) => part < 0.8 && meal.survived).length;
  const broken = noRoom.filter(({ part, meal }) => part > 1.2 && !meal.survived).length;
  const outside = noRoom.filter(({ part }) => part < 0.8 || part > 1.2).length;
  return {
    tables: [
      {
        title: `A guest that has idled for ${IDLE / 1000} s takes ${STEP} MiB at ${RATE} MiB/s; a pool with room`,
        columns: ['coordinator', 'eaters alive', 'least spare, MiB', 'target raised, worst, ms'],
        rows: Object.entries(room).map(([name, meals]) => ({
          name,
          cells: [
            `${alive(meals)} of ${meals.length}`,
            Math.round(Math.min(...meals.map(({ leastSpare }) => leastSpare)) / 1024),
            Math.round(Math.max(...meals.map(({ raisedMs }) => raisedMs ?? Number.NaN))),
          ],
        })),
      },
      {
        title: `A pool without room: what \`memcoord status\` says the guest survives for ${BURST_LASTS} s, and what it does survive`,
        columns: ['part of what is shown', 'shown, MiB/s', 'tried, MiB/s', 'what came of it', 'least spare, MiB'],
        rows: noRoom.map(({ shown, part, meal }) => ({
          name: `${part} ×`,
          cells: [Math.round(shown), Math.round(shown * part), meal.fate, Math.round(meal.leastSpare / 1024)],
        })),
      },
    ],
    ratios: [
      ...(ours.length === 0
        ? []
        : [
            {
              name: `step: eaters alive, part of ${ours.length} runs`,
              value: alive(ours) / ours.length,
              target: 1,
              bound: 'atLeast',
            } as const,
          ]),
      ...(outside === 0
        ? []
        : [
            {
              name: 'step without room: tries outside of 25 % of the shown burst that went as shown, part of all',
              value: (borne + broken) / outside,
              target: 1,
              bound: 'atLeast',
            } as const,
          ]),
    ],
    plot: {
      kind: 'lines',
      title: `${STEP} MiB at ${RATE} MiB/s after ${IDLE / 1000} s of idling: spare memory of the guest`,
      x: { title: 'time since the first byte, s' },
      y: { title: 'spare (MemAvailable), MiB' },
      series: Object.entries(room).map(([name, meals]) => ({
        name,
        points: (meals[0]?.series ?? []).map(({ ms, spare }) => [ms / 1000, spare / 1024] as const),
      })),
      marks: [{ x: 0, name: 'first byte' }],
    },
    notes: [
      'With room: no pool is set, so the host can spare far more than the guests may have. The least spare is MemAvailable as the guest itself saw it; at 0 its eater is killed.',
      `Without room: a pool of 1 GiB holds all four guests at their floor of 256 MiB, and none has anything to give. The burst shown is read by \`memcoord status --json\` just before; a guest is told to take so many times it for ${BURST_LASTS} s.`,
    ],
  };
}

export const step: Question<Steps> = {
  name: 'step',
  title: 'Does a guest survive that suddenly takes 600 MiB?',
  hosts: (mode) => (mode === 'quick' ? [] : ['real4']),
  measure,
  answer,
};
