import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { SimHost } from '../../lib/sim/host.js';
import { figureOf, LAST_UPDATE } from '../../lib/sweep.js';

t.test('the wall clock is set for the guests that are there and for those that are started later', async (t) => {
  const spec = (name: string) => ({ name, maximum: GiB, uses: () => 100 * MiB });
  const host = new SimHost({ total: 8 * GiB, guests: [spec('first')] });
  host.setClock(3_600_000);
  host.start(spec('second'));
  for (const guest of host.guests) guest.setPeriod(1);
  await host.pass(1000);
  const sweep = await (await host.connect()).sample({ deadlineMs: 100 });
  t.ok(figureOf(sweep, 0, LAST_UPDATE) > 1_700_003_500);
  t.equal(figureOf(sweep, 1, LAST_UPDATE), figureOf(sweep, 0, LAST_UPDATE));
});
