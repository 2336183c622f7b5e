/** Hosts that people really have, each of a kind that a coordinator has hurt: nobody dies managed who lives unmanaged. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { GiB } from '../../../lib/common/units.js';
import { loadScenario } from '../../../lib/sim/scenario.js';
import { simulate } from '../../../lib/sim/simulate.js';

const FOLDER = 'test/fixtures/cases';
const SEEDS = Number(process.env.SIM_SEEDS ?? 20);

/**
 * Of a guest that fills what it is given with cache that looks like use nobody gets it back: what the pool has left is gone when others come
 * to need it. That waits for probing of page cache (docs/ballooning.md, rule 16).
 */
const KNOWN = new Set(['guest-arc.yaml']);

for (const file of readdirSync(FOLDER))
  t.test(
    `${file}: nobody dies who lives unmanaged, in ${SEEDS} seeds`,
    { timeout: 600_000, skip: KNOWN.has(file) && 'its cache looks like use, which waits for probing of page cache (rule 16)' },
    async (t) => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const result = await simulate(await loadScenario(join(FOLDER, file), seed));
        const hurt = result.guests.filter(({ kills, unmanaged }) => kills > 0 && unmanaged.kills === 0).map(({ name }) => name);
        t.same(hurt, [], `seed ${seed}`);
        t.same(result.violations, [], `seed ${seed}: no invariant is violated`);
        // Software that sizes itself by MemTotal at its start sees all of it.
        if (file === 'kubelet.yaml') t.equal(result.guests.find(({ name }) => name === 'node')?.actual, 8 * GiB, 'not shrunk yet');
      }
    },
  );
