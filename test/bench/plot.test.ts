import t from 'tap';
import { draw, scaleOf } from '../../bench/plot.js';
import type { Bars, Lines } from '../../bench/question.js';

t.test('a linear axis begins at 0 and ends at a round number', async (t) => {
  const { at, ticks } = scaleOf({ title: 'ms' }, [3, 47, Number.NaN]);
  t.same(ticks, [0, 10, 20, 30, 40, 50]);
  t.equal(at(25), 0.5);
});

t.test('a linear axis reaches down to what is below 0', async (t) => {
  const { at, ticks } = scaleOf({ title: 'MiB' }, [-60, 100]);
  t.same([ticks[0], ticks.at(-1)], [-100, 100]);
  t.equal(at(0), 0.5);
});

t.test('a logarithmic axis spans whole powers of ten', async (t) => {
  const { at, ticks } = scaleOf({ title: 'ms', scale: 'log' }, [2, 300, 0]);
  t.same(ticks, [1, 10, 100, 1000]);
  t.equal(at(1), 0);
  t.equal(at(1000), 1);
});

t.test('axes of nothing, or of one value, can be drawn', async (t) => {
  for (const scale of ['linear', 'log'] as const) {
    for (const values of [[], [0], [1]]) {
      const { at, ticks } = scaleOf({ title: '', scale }, values);
      t.ok(ticks.length >= 2 && ticks.length < 20 && ticks.every(Number.isFinite), `${scale} of ${values}`);
      t.ok(Number.isFinite(at(1)));
    }
  }
});

const BARS: Bars = {
  kind: 'bars',
  title: 'A < B',
  y: { title: 'ms' },
  groups: ['one', 'two'],
  series: [
    { name: 'x', values: [50, Number.NaN] },
    { name: 'y', values: [100, 25] },
  ],
};

t.test('a bar is as high as its value, and none is drawn for what is missing', async (t) => {
  const svg = draw(BARS);
  const heights = [...svg.matchAll(/<rect [^>]*y="[\d.]+" width="39.0" height="([\d.]+)"/g)].map((match) => Number(match[1]));
  t.same(heights, [120, 240, 60]);
  t.match(svg, 'A &lt; B (ms)');
});

t.test('a line goes through its points, and past those that are missing', async (t) => {
  const lines: Lines = {
    kind: 'lines',
    title: 'memory',
    x: { title: 's' },
    y: { title: 'MiB' },
    series: [
      {
        name: 'rss',
        points: [
          [0, 0],
          [5, Number.NaN],
          [10, 100],
        ],
      },
    ],
    marks: [{ x: 5, name: 'eats' }],
  };
  const svg = draw(lines);
  t.match(svg, 'points="0.0,240.0 720.0,0.0"');
  t.match(svg, 'd="M360.0 0v240"');
});
