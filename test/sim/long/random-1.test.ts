import t from 'tap';
import { runRandom } from '../random.js';

t.test('random scenarios hold every invariant: the second half', { timeout: 3_600_000 }, async (t) => runRandom(t, 1));
