/** What the questions make of their figures. */
import t from 'tap';
import { cycle } from '../../bench/cycle.js';
import { memory } from '../../bench/memory.js';
import { policy } from '../../bench/policy.js';
import type { Answer } from '../../bench/question.js';
import { watched } from '../../bench/watched.js';

function ratioOf({ ratios }: Answer, part: string): number | undefined {
  const found = ratios.filter(({ name }) => name.includes(part));
  t.equal(found.length, 1, `there is one ratio of ${part}`);
  return found[0]?.value;
}

/** Contenders that take so many ms of wall time and a tenth of it of CPU; the first cycle is slow. */
const times = (walls: Readonly<Record<string, number>>) =>
  Object.entries(walls).map(([name, wall]) => ({ name, wall: [9 * wall, wall, wall], cpu: wall / 10, daemonCpu: 1 }));

t.test('a sweep is compared with the floor of 4 threads, a cycle with the shell loop, by medians', async (t) => {
  const read = times({ 'virsh loop': 100, 'floor, 1 thread': 7, 'floor, 4 threads': 4, 'memcoord sweep': 5, 'memcoord cycle': 8 });
  const many = times({ 'virsh loop': 600, 'floor, 4 threads': 10, 'memcoord sweep': 11, 'memcoord cycle': 12 });
  const answer = cycle.answer(
    new Map([
      ['test1000', { read: times({ 'floor, 4 threads': 50, 'memcoord sweep': 60 }), set: [] }],
      ['real20', { read: many, set: many }],
      ['real4', { read, set: times({ 'virsh loop': 200, 'memcoord cycle': 20 }) }],
    ]),
  );
  t.equal(ratioOf(answer, 'sweep / floor with 4 threads, wall, 4 real'), 1.25);
  t.equal(ratioOf(answer, 'sweep / floor with 4 threads, wall, 20 real'), 1.1);
  t.equal(ratioOf(answer, 'sweep / floor with 4 threads, wall, 1,000'), 1.2);
  t.equal(ratioOf(answer, 'virsh loop / memcoord, wall, 4 real guests, read and set'), 10);
  t.equal(ratioOf(answer, 'from 4 to 20 real guests, wall'), 4);
  t.same(answer.plot?.kind === 'bars' ? answer.plot.groups : [], [
    '4 real guests, read',
    '4 real guests, read and set',
    '20 real guests, read',
    '20 real guests, read and set',
    '1,000 guests of the test driver, read',
  ]);
  t.same(answer.tables[0]?.rows[0], { name: 'virsh loop', cells: [100, 900, 10, 1, '3'] });
});

t.test('a contender that was not measured gives no ratio that could be met', async (t) => {
  const answer = cycle.answer(new Map([['real4', { read: times({ 'memcoord sweep': 5 }), set: [] }]]));
  t.ok(Number.isNaN(ratioOf(answer, 'sweep / floor')));
});

t.test('a leak shows in the later half of the cycles, growth before the first thousand does not', async (t) => {
  const run = (leak: number) =>
    [100, 1000, 2000, 3000, 4000].map((cycles) => ({
      cycles,
      moves: 0,
      rssMiB: cycles < 1000 ? 50 : 100 + (leak * cycles) / 1000,
      heapMiB: 9,
    }));
  t.equal(ratioOf(memory.answer(new Map([['none', run(0)]])), 'RSS'), 1);
  t.equal(ratioOf(memory.answer(new Map([['none', run(10)]])), 'RSS'), 130 / 110);
});

t.test('a plan is compared with a sweep over as many guests, and JavaScript judged by its worst', async (t) => {
  const time = (guests: number, planUs: number) => ({ guests, cycles: 1, planUs, cycleUs: 2 * planUs });
  const answer = policy.answer(
    new Map([
      ['none', { times: [time(10, 900), time(100, 300), time(1000, 1000), time(10_000, 12_000)] }],
      ['real20', { sweepMsPerGuest: 0.5 }],
    ]),
  );
  t.equal(ratioOf(answer, '/ for 1,000'), 12);
  t.equal(ratioOf(answer, 'µs a guest'), 6, 'ten guests are too few to spread what a cycle takes in any case');
  // 12 ms of 5,000 ms.
  t.equal(ratioOf(answer, 'a plan for 10,000 guests, % of a sweep'), 0.24);
  t.equal(ratioOf(answer, 'all JavaScript of a cycle for 10,000 guests, % of a sweep'), 0.48);
});

t.test('what being watched adds is counted over all processes, against the same host without memcoord', async (t) => {
  const cost = { seconds: 30, memcoord: 0, daemon: 0.5, guests: 1, moves: 0 };
  const answer = watched.answer(
    new Map([
      [
        'real4',
        [
          { ...cost, name: 'without memcoord' },
          { ...cost, name: '--sampling-budget 0', memcoord: 1, daemon: 1.5, guests: 3 },
        ],
      ],
    ]),
  );
  t.same(answer.tables[0]?.rows, [
    { name: '4 guests, without memcoord', cells: [null, 0.5, 1, null, null, '30'] },
    { name: '4 guests, --sampling-budget 0', cells: [1, 1.5, 3, 4, '0', '30'] },
  ]);
});
