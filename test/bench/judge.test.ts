import t from 'tap';
import { isFarOff, isMet, tap, targetText } from '../../bench/judge.js';
import type { Ratio } from '../../bench/question.js';

const ratio = (value: number, target: number, bound: Ratio['bound']): Ratio => ({ name: 'a / b', value, target, bound });

t.test('a target is met up to its bound', async (t) => {
  t.equal(isMet(ratio(1.25, 1.25, 'atMost')), true);
  t.equal(isMet(ratio(1.26, 1.25, 'atMost')), false);
  t.equal(isMet(ratio(15, 15, 'atLeast')), true);
  t.equal(isMet(ratio(14.9, 15, 'atLeast')), false);
});

t.test('a ratio is far off where it is worse than half of its target', async (t) => {
  t.equal(isFarOff(ratio(2.5, 1.25, 'atMost')), false);
  t.equal(isFarOff(ratio(2.51, 1.25, 'atMost')), true);
  t.equal(isFarOff(ratio(7.5, 15, 'atLeast')), false);
  t.equal(isFarOff(ratio(7.4, 15, 'atLeast')), true);
});

t.test('a time of this machine is shown with its target and fails nothing', async (t) => {
  const time: Ratio = { ...ratio(100, 5, 'atMost'), absolute: true };
  t.equal(isMet(time), false);
  t.equal(isFarOff(time), false);
  t.equal(isFarOff({ ...time, value: Number.NaN }), true);
});

t.test('what could not be measured meets nothing, nor what JSON has made of it', async (t) => {
  for (const bound of ['atMost', 'atLeast'] as const) {
    for (const value of [Number.NaN, null as unknown as number]) {
      t.equal(isMet(ratio(value, 1, bound)), false);
      t.equal(isFarOff(ratio(value, 1, bound)), true);
    }
  }
});

t.test('TAP fails on what is far off, and only there', async (t) => {
  const lines = tap([ratio(1, 1.25, 'atMost'), ratio(2, 1.25, 'atMost'), { ...ratio(3, 1.25, 'atMost'), name: 'a # b' }], String);
  t.same(lines, [
    'ok 1 - a / b: 1 (target ≤ 1.25, met)',
    'ok 2 - a / b: 2 (target ≤ 1.25, not met)',
    'not ok 3 - a  b: 3 (target ≤ 1.25, not met)',
    '1..3',
  ]);
  t.equal(targetText(ratio(1, 20, 'atLeast')), '≥ 20');
});
