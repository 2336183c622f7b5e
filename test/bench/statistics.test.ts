import t from 'tap';
import { median, quantile } from '../../bench/statistics.js';

t.test('a quantile is the smallest value that so many do not exceed', async (t) => {
  const values = [5, 1, 4, 2, 3];
  t.equal(quantile(values, 0.5), 3);
  t.equal(quantile(values, 0.6), 3);
  t.equal(quantile(values, 0.61), 4);
  t.equal(quantile(values, 0.99), 5);
  t.equal(quantile(values, 0), 1);
  t.same(values, [5, 1, 4, 2, 3], 'the values are left as they are');
});

t.test('values are ordered as numbers', async (t) => {
  t.equal(median([10, 9, 100]), 10);
});

t.test('of nothing there is no quantile', async (t) => {
  t.ok(Number.isNaN(median([])));
});
