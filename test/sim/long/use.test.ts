import t from 'tap';
import { Coordinator, type CoordinatorOptions } from '../../../lib/coordinator/coordinator.js';
import { BASELINE, isUseKept, reclaimedNow, sumOf } from '../use.js';

t.test('memory that nobody uses is reclaimed as by earlier policies, and nobody dies of it', { timeout: 600_000 }, async (t) => {
  const { reclaimed, kills } = await reclaimedNow();
  const before = sumOf(BASELINE.reclaimed);
  t.ok(isUseKept(reclaimed), `${sumOf(reclaimed).toFixed(2)} GiB·h reclaimed; ${before.toFixed(2)} at commit ${BASELINE.commit}`);
  t.equal(kills, 0, 'nobody dies');
});

t.test('caught: doing nothing', async (t) => {
  class Idle extends Coordinator {
    constructor(options: CoordinatorOptions) {
      super({ ...options, dryRun: true });
    }
  }
  const { reclaimed } = await reclaimedNow({ coordinator: Idle }, 10);
  t.notOk(isUseKept(reclaimed), `${sumOf(reclaimed).toFixed(2)} GiB·h reclaimed`);
});
