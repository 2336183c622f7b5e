import t from 'tap';
import { judge, judged, reversals } from './judge.js';
import type { LoggedMove, Recording, Sample } from './recording.js';

const MiB = 1024;
const GiB = 1024 * MiB;
const NAMES = ['aos_vm1', 'aos_vm2', 'aos_vm3', 'aos_vm4'];
const QUIET = NAMES.map(() => ({ oomKills: 0, bystander: true }));

/** Balloon sizes in MiB at a time; spare is 200 MiB unless said otherwise. */
type Course = (t: number) => { actual: number[]; unused?: number[]; usable?: number[]; swapIn?: number[]; swapOut?: number[] };

function series(seconds: number, course: Course): Sample[] {
  return Array.from({ length: seconds + 1 }, (_, second) => {
    const { actual, unused, usable, swapIn, swapOut } = course(second);
    const scaled = (values: number[]): number[] => values.map((value) => value * MiB);
    return {
      t: second,
      actual: scaled(actual),
      unused: scaled(unused ?? [260, 260, 260, 260]),
      usable: scaled(usable ?? [200, 200, 200, 200]),
      swapIn: swapIn ?? [0, 0, 0, 0],
      swapOut: swapOut ?? [0, 0, 0, 0],
    };
  });
}

const ramp = (from: number, to: number, start: number, end: number, t: number): number =>
  t <= start ? from : t >= end ? to : from + ((to - from) * (t - start)) / (end - start);

const shrink: LoggedMove = { t: 5, guest: 'aos_vm2', from: 512 * MiB, to: 412 * MiB, actual: 512 * MiB, spare: 300 * MiB, reason: 'give' };

function one(course?: Course, rest: Partial<Recording> = {}): Recording {
  const usual: Course = (t) => {
    const other = ramp(512, 400, 0, 20, t);
    return { actual: [t < 100 ? ramp(512, 2048, 0, 90, t) : ramp(2048, 600, 102, 130, t), other, other, other] };
  };
  return {
    test: 1,
    pool: 8 * GiB,
    maximum: 2048 * MiB,
    guests: NAMES,
    samples: series(150, course ?? usual),
    moves: [shrink],
    stages: [
      { name: 'eating', from: 0, to: 100, idle: [1, 2, 3], before: QUIET, after: QUIET },
      { name: 'freed', from: 103, to: 150, idle: [0, 1, 2, 3], before: QUIET, after: QUIET },
    ],
    ended: [100, null, null, null],
    plateau: null,
    exitCode: 0,
    ...rest,
  };
}

function two(course?: Course, rest: Partial<Recording> = {}): Recording {
  const usual: Course = (t) => {
    const size = t < 60 ? ramp(512, 1530, 0, 40, t) : ramp(1530, 600, 62, 90, t);
    return { actual: [size, size, size, size - 20] };
  };
  const run = one(course ?? usual, { test: 2, pool: 6 * GiB, ended: [60, 61, 61, 62], plateau: { from: 42, to: 58 } });
  const stages = [
    { name: 'eating', from: 0, to: 62, idle: [], before: QUIET, after: QUIET },
    { name: 'freed', from: 65, to: 150, idle: [0, 1, 2, 3], before: QUIET, after: QUIET },
  ];
  return { ...run, stages, ...rest };
}

function three(course?: Course, rest: Partial<Recording> = {}): Recording {
  const usual: Course = (t) => {
    const hungry = ramp(512, 740, 0, 20, t);
    const down = ramp(740, 300, 42, 70, t);
    const up = ramp(740, 1200, 44, 75, t);
    return { actual: t < 42 ? [hungry, hungry, hungry, hungry] : [down, down, up, up] };
  };
  const run = one(course ?? usual, { test: 3, pool: 3 * GiB, ended: [41, 41, null, null], plateau: { from: 24, to: 40 } });
  const stages = [
    { name: 'all eat', from: 0, to: 40, idle: [], before: QUIET, after: QUIET },
    { name: 'freed', from: 43, to: 100, idle: [0, 1], before: QUIET, after: QUIET },
  ];
  return { ...run, samples: run.samples.slice(0, 101), stages, ...rest };
}

const failing = (recording: Recording): string[] =>
  judge(recording)
    .filter((verdict) => !verdict.ok)
    .map((verdict) => verdict.name);

/** The course with some figures of its samples replaced from a second on. */
function bend(recording: Recording, from: number, to: number, change: (sample: Sample) => Partial<Sample>): Recording {
  return {
    ...recording,
    samples: recording.samples.map((sample) => (sample.t >= from && sample.t <= to ? { ...sample, ...change(sample) } : sample)),
  };
}

const replaced = (values: readonly number[], index: number, value: number): number[] => values.map((old, i) => (i === index ? value : old));

t.test('runs that come out as expected pass', async (t) => {
  t.strictSame(failing(one()), []);
  t.strictSame(failing(two()), []);
  t.strictSame(failing(three()), []);
});

t.test('test 1: guest 1 that stops short of its max fails', async (t) => {
  const short = one((t) => ({
    actual: [t < 100 ? ramp(512, 2000, 0, 90, t) : ramp(2000, 600, 102, 130, t), ...[1, 2, 3].map(() => ramp(512, 400, 0, 20, t))],
  }));
  t.strictSame(failing(short), ['guest 1 rises to its max']);
});

t.test('test 1: another guest that keeps its memory fails', async (t) => {
  const kept = bend(one(), 0, 150, (sample) => ({ actual: replaced(sample.actual, 2, 505 * MiB) }));
  t.strictSame(failing(kept), ['each other guest falls meanwhile']);
});

t.test('test 1: guest 1 that comes back late, or does not stay, fails', async (t) => {
  const late = one(undefined, { ended: [60, null, null, null] });
  t.strictSame(failing(late), ['after freeing, guest 1 comes back under 700 MiB within 60 s']);
  const strayed = bend(one(), 150, 150, (sample) => ({ actual: replaced(sample.actual, 0, 720 * MiB) }));
  t.match(failing(strayed), ['after freeing, guest 1 comes back under 700 MiB within 60 s']);
  t.match(failing(one(undefined, { ended: [null, null, null, null] })), ['after freeing, guest 1 comes back under 700 MiB within 60 s']);
});

t.test('test 1: a host that gets nothing back fails', async (t) => {
  const greedy = bend(one(), 130, 150, (sample) => ({ actual: [690 * MiB, ...sample.actual.slice(1).map(() => 500 * MiB)] }));
  t.ok(failing(greedy).includes('the sum of actual is less than at the start'));
});

t.test('test 2: a guest that does not rise fails', async (t) => {
  const flat = bend(two(), 0, 150, (sample) => ({ actual: replaced(sample.actual, 1, 512 * MiB) }));
  t.match(failing(flat), ['all rise', 'the balloons differ by 5 % at most at the last sample before the first eater ends']);
});

t.test('test 2: balloons that differ by more than 5 % fail', async (t) => {
  const apart = bend(two(), 50, 60, (sample) => ({ actual: replaced(sample.actual, 3, (sample.actual[3] ?? 0) - 60 * MiB) }));
  t.ok(failing(apart).includes('the balloons differ by 5 % at most at the last sample before the first eater ends'));
});

t.test('test 2: a sum over the pool fails, if only for one sample, and is not asked for where the pool holds all maxima', async (t) => {
  const over = (sample: Sample): Partial<Sample> => ({ actual: sample.actual.map(() => 1560 * MiB) });
  t.ok(failing(bend(two(), 57, 57, over)).includes('the sum of actual never passes the pool'));
  t.notOk(judge(two(undefined, { pool: 8 * GiB })).some((verdict) => verdict.name.includes('passes the pool')));
});

t.test('test 2: one guest of four that does not come back fails', async (t) => {
  const stays = bend(two(), 63, 150, (sample) => ({ actual: replaced(sample.actual, 2, 900 * MiB) }));
  t.ok(failing(stays).includes('after freeing, all come back under 700 MiB within 60 s'));
});

t.test('test 2: unequal spare on the plateau fails, and so does one on which there was still something to give', async (t) => {
  const plateau = 'a plateau of 15 s with the pool given out shows the spare equal to within 32 MiB among the guests at no bound';
  const uneven = bend(two(), 50, 59, (sample) => ({ usable: replaced(sample.usable, 1, 240 * MiB) }));
  t.strictSame(failing(uneven), [plateau]);
  const roomy = bend(two(), 50, 59, (sample) => ({ actual: sample.actual.map(() => 1510 * MiB) }));
  t.strictSame(failing(roomy), [plateau]);
  t.strictSame(failing(two(undefined, { plateau: null })), [plateau]);
  t.strictSame(failing(two(undefined, { plateau: null, pool: 8 * GiB })), [], 'the pool holds all maxima');
});

t.test('test 3: unequal spare at the end of the plateau fails, guests at a bound set aside', async (t) => {
  const plateau = 'a plateau of 15 s shows the spare equal to within 32 MiB among the guests at no bound';
  const uneven = bend(three(), 30, 42, (sample) => ({ usable: replaced(sample.usable, 1, 240 * MiB) }));
  t.strictSame(failing(uneven), [plateau]);
  const bounded = bend(uneven, 30, 42, (sample) => ({ actual: replaced(sample.actual, 1, 256 * MiB) }));
  t.notOk(failing(bounded).includes(plateau));
  t.strictSame(failing(three(undefined, { plateau: { from: 28, to: 40 } })), [plateau]);
  t.strictSame(failing(three(undefined, { plateau: null })), [plateau]);
});

t.test('test 3: guests that move one after the other, beyond the minute, fail', async (t) => {
  const still = bend(three(), 41, 100, (sample) => ({ actual: replaced(sample.actual, 0, 740 * MiB) }));
  t.ok(failing(still).includes('guests 1 and 2 fall and guests 3 and 4 rise in the same minute'));
  const starved = bend(three(), 41, 100, (sample) => ({ actual: replaced(sample.actual, 3, 740 * MiB) }));
  t.ok(failing(starved).includes('guests 1 and 2 fall and guests 3 and 4 rise in the same minute'));
});

t.test('test 3: a rise that the free pool alone could feed, or that nobody fed, fails', async (t) => {
  const fed = 'the rise of guests 3 and 4 beyond the free pool is fed by guests 1 and 2';
  const small = bend(three(), 44, 100, (sample) => ({ actual: [sample.actual[0] ?? 0, sample.actual[1] ?? 0, 780 * MiB, 780 * MiB] }));
  t.strictSame(failing(small), [fed]);
  const unfed = bend(three(), 44, 100, (sample) => ({ actual: [700 * MiB, 700 * MiB, sample.actual[2] ?? 0, sample.actual[3] ?? 0] }));
  t.ok(failing(unfed).includes(fed));
});

t.test('two of a hundred samples under 100 MiB unused pass, more fail; at its max or with a full pool a guest may be short', async (t) => {
  const short =
    (guest: number) =>
    (sample: Sample): Partial<Sample> => ({ unused: replaced(sample.unused, guest, 99 * MiB) });
  const name = 'eating: while 64 MiB of the pool are free, each guest below its max has 100 MiB unused in 98 % of samples';
  t.strictSame(failing(bend(one(), 10, 10, short(1))), []);
  t.strictSame(failing(bend(one(), 10, 14, short(1))), [name]);
  t.strictSame(failing(bend(one(), 92, 100, short(0))), [], 'at its max');
  const full = bend(one(undefined, { pool: 3000 * MiB }), 80, 89, short(0));
  t.notOk(failing(full).includes(name), 'nothing to give');
  t.ok(
    failing(bend(one(), 10, 14, (sample) => ({ unused: replaced(sample.unused, 1, Number.NaN) }))).includes(name),
    'not reported counts as short',
  );
});

t.test('an idle guest that swaps or loses a process fails; one that has eaten may swap in', async (t) => {
  const eating = 'eating: no idle guest is killed or swaps';
  const freed = 'freed: no idle guest is killed or swaps';
  const swap =
    (key: 'swapIn' | 'swapOut', guest: number) =>
    (sample: Sample): Partial<Sample> => ({ [key]: replaced(sample[key], guest, 8) });
  t.strictSame(failing(bend(one(), 50, 150, swap('swapOut', 1))), [eating]);
  t.strictSame(failing(bend(one(), 50, 150, swap('swapIn', 3))), [eating]);
  t.strictSame(failing(bend(one(), 120, 150, swap('swapOut', 0))), [freed]);
  t.strictSame(failing(bend(one(), 120, 150, swap('swapIn', 0))), []);
  t.strictSame(failing(bend(one(), 50, 150, swap('swapOut', 0))), [], 'guest 1 eats');
  const run = one();
  const killed = run.stages.map((stage) => ({
    ...stage,
    after: stage.after.map((word, i) => (i === 1 ? { oomKills: 1, bystander: true } : word)),
  }));
  t.strictSame(failing({ ...run, stages: killed }), [eating, freed]);
  const bereft = run.stages.map((stage) => ({ ...stage, after: stage.after.map((word) => ({ ...word, bystander: false })) }));
  t.strictSame(failing({ ...run, stages: bereft }), [eating, freed]);
});

t.test('a move that takes more than half of the spare fails, and so does a log without any shrink', async (t) => {
  const name = 'no single move takes more than half of a guest’s spare';
  t.strictSame(failing(one(undefined, { moves: [shrink, { ...shrink, spare: 190 * MiB }] })), [name]);
  t.strictSame(failing(one(undefined, { moves: [{ ...shrink, spare: Number.NaN }] })), [name]);
  t.strictSame(failing(one(undefined, { moves: [] })), [name]);
  t.strictSame(
    failing(one(undefined, { moves: [shrink, { ...shrink, from: 900 * MiB, actual: 500 * MiB, to: 480 * MiB, spare: 50 * MiB }] })),
    [],
  );
});

t.test('a guest that loses more than 250 MiB in 2 s fails', async (t) => {
  const name = 'no guest loses more than 250 MiB in 2 s';
  const course =
    (loss: number): Course =>
    (t) => {
      const other = ramp(512, 400, 0, 20, t);
      return { actual: [t < 100 ? ramp(512, 2048, 0, 90, t) : Math.max(600, 2048 - (t - 100) * (loss / 2)), other, other, other] };
    };
  t.strictSame(failing(one(course(248))), []);
  t.strictSame(failing(one(course(256))), [name]);
});

t.test('a guest that goes back and forth more than twice fails', async (t) => {
  t.equal(reversals([0, 100, 200, 190, 300], 32), 0, 'a dip within the bound is none');
  t.equal(reversals([0, 100, 50, 100, 200], 32), 2);
  t.equal(reversals([100, 60, 20, 60, 100], 32), 1);
  t.equal(reversals([100, 100, 100], 32), 0);
  const zigzag = bend(one(), 20, 100, (sample) => ({ actual: replaced(sample.actual, 1, (sample.t % 10 < 5 ? 400 : 450) * MiB) }));
  t.match(failing(zigzag), ['eating: no guest reverses by more than 32 MiB more than twice']);
});

t.test('a coordinator that fails when told to stop fails', async (t) => {
  t.strictSame(failing(one(undefined, { exitCode: 1 })), ['the coordinator stops cleanly when told to']);
  t.strictSame(failing(one(undefined, { exitCode: null })), ['the coordinator stops cleanly when told to']);
});

t.test('samples are judged every 2 s', async (t) => {
  const times = judged(series(6, () => ({ actual: [1, 1, 1, 1] }))).map((sample) => sample.t);
  t.strictSame(times, [0, 2, 4, 6]);
});
