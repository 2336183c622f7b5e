import t from 'tap';
import type { Answer } from '../../bench/question.js';
import { allRatios, headlines, markdown, numberText, plainText, type Results } from '../../bench/results.js';

const ANSWER: Answer = {
  tables: [
    {
      title: 'A cycle',
      columns: ['contender', 'wall p50, ms', 'cycles'],
      rows: [
        { name: 'virsh', cells: [104.2, '31'] },
        { name: 'mem|coord', cells: [null, '7'] },
      ],
    },
  ],
  ratios: [
    { name: 'a / b', value: 1.1, target: 1.25, bound: 'atMost' },
    { name: 'c / d', value: 9.04, target: 15, bound: 'atLeast' },
  ],
  plot: null,
  notes: ['One.', 'Two.'],
};

const RESULTS: Results = {
  machine: {
    cpu: 'Some CPU',
    cores: 2,
    memoryGiB: 23.54,
    kernel: '6.1',
    libvirt: '9.0.0',
    qemu: '7.2.1',
    acceleration: 'qemu',
    node: '20.8.0',
    commit: '1234567',
    date: '2026-01-02T03:04:05.678Z',
    mode: 'normal',
  },
  answers: [{ name: 'cycle', title: 'How long?', answer: ANSWER }],
};

t.test('numbers have three digits that count and no exponent', async (t) => {
  for (const [value, text] of [
    [0, '0'],
    [1.005, '1.00'],
    [0.01234, '0.0123'],
    [-12.34, '-12.3'],
    [123.4, '123'],
    [12345.6, '12346'],
    [1e-9, '0.000000'],
    [Number.NaN, '-'],
  ] as const)
    t.equal(numberText(value), text);
});

t.test('the terminal gets all tables, aligned, then the targets', async (t) => {
  t.equal(
    plainText(RESULTS),
    `A cycle
contender  wall p50, ms  cycles
virsh               104      31
mem|coord             -       7

Against the targets
ratio  measured  target  met
a / b      1.10  ≤ 1.25  yes
c / d      9.04    ≥ 15   no

Measured on 2026-01-02, commit 1234567: 2 cores of Some CPU, 23.5 GiB, Linux 6.1, libvirt 9.0.0, QEMU 7.2.1, guests by software emulation, Node 20.8.0.`,
  );
});

t.test('docs/benchmark.md has the machine, the targets, and each question with its table, notes and plot', async (t) => {
  const text = markdown(RESULTS, new Map([['cycle', 'bench/plots/cycle.svg']]));
  const order = [
    'Measured on 2026-01-02',
    '| ratio | measured | target | met |\n|---|---:|---:|---:|\n| a / b | 1.10 | ≤ 1.25 | yes |\n| c / d | 9.04 | ≥ 15 | no |',
    '### How long?',
    '**A cycle**',
    '| mem\\|coord | - | 7 |',
    'One. Two.',
    '![How long?](bench/plots/cycle.svg)',
  ].map((part) => text.indexOf(part));
  t.notOk(order.includes(-1), 'all parts are there');
  t.same(
    order,
    [...order].sort((a, b) => a - b),
  );
});

t.test('README has the machine, the ratios that matter most, and no more', async (t) => {
  const ratio = (name: string) => ({ name, value: 18.7, target: 15, bound: 'atLeast' as const });
  const [answer, ...others] = RESULTS.answers;
  if (answer === undefined) throw new Error('no answer');
  const ratios = [ratio('virsh loop / memcoord, wall, 4 real guests, read'), ratio('a / b')];
  const text = headlines({ ...RESULTS, answers: [{ ...answer, answer: { ...answer.answer, ratios } }, ...others] });
  t.match(text, /^Measured on 2026-01-02/);
  t.match(text, '| virsh loop / memcoord, wall, 4 real guests, read | 18.7 | ≥ 15 | yes |');
  t.notMatch(text, 'a / b');
  t.notMatch(text, '###');
});

t.test('a section is the same once its figures have been through JSON', async (t) => {
  const results = {
    ...RESULTS,
    answers: [{ name: 'x', title: 'X', answer: { ...ANSWER, ratios: [{ ...ANSWER.ratios[0], value: Number.NaN }] } }],
  } as Results;
  const kept = JSON.parse(JSON.stringify(results)) as Results;
  t.equal(markdown(kept, new Map()), markdown(results, new Map()));
  t.match(markdown(kept, new Map()), '| a / b | - | ≤ 1.25 | no |');
});

t.test('a short or a long run says so, and one without real guests does not say how they ran', async (t) => {
  const text = plainText({ ...RESULTS, machine: { ...RESULTS.machine, mode: 'full', acceleration: null } });
  t.match(text, 'commit 1234567 (--full)');
  t.notMatch(text, 'emulation');
  t.equal(allRatios(RESULTS).length, 2);
});
