import t from 'tap';
import { Coordinator, type CoordinatorOptions } from '../../../lib/coordinator/coordinator.js';
import { simulate } from '../../../lib/sim/simulate.js';
import { scenarioOf } from '../scenarios.js';
import { BASELINE, BASELINE_COLD, coldHost, isUseKept, reclaimedNow, sumOf } from '../use.js';

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

/** What is reclaimed on hosts whose guests' page cache is cold, GiB·h, and how many guests die there. */
async function coldNow(config = {}): Promise<{ readonly reclaimed: number; readonly kills: number }> {
  let [reclaimed, kills] = [0, 0];
  for (let seed = 0; seed < 16; seed++) {
    const { host, guests } = await simulate(scenarioOf(coldHost(seed, config)));
    reclaimed += host.reclaimedGiBh;
    kills += guests.filter((guest) => guest.kills > 0).length;
  }
  return { reclaimed, kills };
}

t.test('page cache that was filled once is given back: nine tenths of what a policy gets for which all cache is spare', async (t) => {
  const { reclaimed, kills } = await coldNow();
  t.ok(reclaimed >= 0.9 * BASELINE_COLD, `${reclaimed.toFixed(2)} GiB·h reclaimed, ${BASELINE_COLD} at commit 6e94140`);
  t.equal(kills, 0, 'nobody dies');
});

t.test('caught: never touching page cache', async (t) => {
  const { reclaimed } = await coldNow({ signal: 'unused' });
  t.notOk(reclaimed >= 0.9 * BASELINE_COLD, `${reclaimed.toFixed(2)} GiB·h reclaimed`);
});
