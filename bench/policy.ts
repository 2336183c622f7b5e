/** What does deciding take, and how does it grow with the number of guests? */
import { LabError, ROOT, run } from '../test/lab/shell.js';
import { Contender } from './contender.js';
import type { Answer, Bench, HostName, Lines, Question, Ratio } from './question.js';
import { median } from './statistics.js';

/** What contenders/policy.ts measures. */
export interface PolicyTimes {
  readonly guests: number;
  readonly cycles: number;
  /** Of one plan. */
  readonly planUs: number;
  /** CPU of one cycle of the coordinator over a hypervisor that takes no time. */
  readonly cycleUs: number;
}

/** Without guests, the times by their number; over real guests, what a sweep takes of each, ms. */
type Found = { readonly times: readonly PolicyTimes[] } | { readonly sweepMsPerGuest: number };

const SIZES = [10, 100, 1000, 10_000];
/** Guests times cycles of one run. */
const WORK = { quick: 50_000, normal: 150_000, full: 500_000 };
/** Runs of each size, in turn; the median counts. */
const ROUNDS = { quick: 1, normal: 3, full: 5 };
const SWEEPS = 50;

async function measure({ host, mode, signal, say }: Bench): Promise<Found> {
  if (host.name !== 'none') {
    say(`sweeps over ${host.guests.length} real guests, to compare the plan with`);
    const command = [process.execPath, '.lab/js/bench/contenders/memcoord.js', host.uri, 'sweep'];
    const memcoord = await Contender.start('memcoord sweep', command, signal);
    const walls: number[] = [];
    try {
      for (let i = 0; i < SWEEPS; i++) walls.push((await memcoord.cycle(null)).wall);
    } finally {
      memcoord.end();
    }
    return { sweepMsPerGuest: median(walls) / host.guests.length };
  }
  const runs = new Map<number, PolicyTimes[]>(SIZES.map((guests) => [guests, []]));
  for (let round = 1; round <= ROUNDS[mode]; round++) {
    say(`the policy alone, ${SIZES.join(', ')} guests, ${round} of ${ROUNDS[mode]}`);
    for (const [guests, times] of runs) {
      signal.throwIfAborted();
      const cycles = Math.min(5000, Math.max(10, WORK[mode] / guests));
      const args = ['.lab/js/bench/contenders/policy.js', String(guests), String(cycles)];
      const { stdout } = await run(process.execPath, args, { cwd: ROOT, timeoutMs: 300_000 });
      times.push(JSON.parse(stdout) as PolicyTimes);
    }
  }
  const times = [...runs].map(([guests, all]) => ({
    guests,
    cycles: all.reduce((sum, { cycles }) => sum + cycles, 0),
    planUs: median(all.map(({ planUs }) => planUs)),
    cycleUs: median(all.map(({ cycleUs }) => cycleUs)),
  }));
  return { times };
}

function answer(found: ReadonlyMap<HostName, Found>): Answer {
  const [alone, real] = [found.get('none'), found.get('real20') ?? found.get('real4')];
  if (alone === undefined || !('times' in alone)) throw new LabError('the policy was not measured');
  const { times } = alone;
  const sweepMs = real !== undefined && 'sweepMsPerGuest' in real ? real.sweepMsPerGuest : Number.NaN;
  const of = (guests: number): PolicyTimes | undefined => times.find((each) => each.guests === guests);
  const share = (us: number, guests: number): number => us / 10 / (sweepMs * guests);
  const most = of(10_000);
  const ratios: Ratio[] = [
    {
      name: 'a plan for 10,000 guests / for 1,000',
      value: (most?.planUs ?? Number.NaN) / (of(1000)?.planUs ?? Number.NaN),
      target: 15,
      bound: 'atMost',
    },
    {
      name: "JavaScript's share of a cycle, µs a guest, the worst of 100 to 10,000 guests",
      value: Math.max(...times.filter(({ guests }) => guests >= 100).map(({ guests, cycleUs }) => cycleUs / guests)),
      target: 5,
      bound: 'atMost',
      absolute: true,
    },
  ];
  if (!Number.isNaN(sweepMs) && most !== undefined) {
    const over = 'for 10,000 guests, % of a sweep over as many real guests (extrapolated)';
    ratios.push(
      { name: `a plan ${over}`, value: share(most.planUs, most.guests), target: 2, bound: 'atMost' },
      { name: `all JavaScript of a cycle ${over}`, value: share(most.cycleUs, most.guests), target: 2, bound: 'atMost' },
    );
  }
  const plot: Lines = {
    kind: 'lines',
    title: 'What deciding takes, by the number of guests',
    x: { title: 'guests', scale: 'log' },
    y: { title: 'ms', scale: 'log' },
    series: [
      { name: 'plan', points: times.map(({ guests, planUs }) => [guests, planUs / 1000] as const) },
      { name: 'all JavaScript of a cycle', points: times.map(({ guests, cycleUs }) => [guests, cycleUs / 1000] as const) },
    ],
  };
  return {
    tables: [
      {
        title: 'The policy alone',
        columns: ['guests', 'a plan, ms', 'plan, µs a guest', 'all JavaScript of a cycle, µs of CPU a guest', 'plan, % of a sweep'],
        rows: times.map((each) => ({
          name: each.guests.toLocaleString('en'),
          cells: [each.planUs / 1000, each.planUs / each.guests, each.cycleUs / each.guests, share(each.planUs, each.guests)],
        })),
      },
    ],
    ratios,
    plot,
    notes: [
      'A hypervisor that takes no time; one guest in ten swings by 128 MiB and is moved.',
      `The sweep is the one of memcoord over real guests, ${Number.isNaN(sweepMs) ? 'not measured' : `${sweepMs.toFixed(2)} ms a guest`}, extrapolated to as many as are planned for.`,
    ],
  };
}

export const policy: Question<Found> = {
  name: 'policy',
  title: 'Deciding, without any guests',
  hosts: (mode) => ['none', mode === 'quick' ? 'real4' : 'real20'],
  measure,
  answer,
};
