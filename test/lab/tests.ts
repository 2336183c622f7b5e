/** `npm run test:lab`: the three classic tests, the faults and the tests of page cache on real guests, as TAP. */
import { parseArgs } from 'node:util';
import { CACHE_TESTS, cacheTests, runCache } from './cache.js';
import { classicRuns, runClassic, SHORT } from './classic.js';
import { ownSurroundings } from './faults/scene.js';
import { FAULTS, faultsNamed, runFaults } from './faults.js';
import { claim, down, guestSpecs, readLab, startEnded, up } from './guests.js';
import { runLikeness } from './likeness.js';
import { LabError } from './shell.js';
import { startTap } from './tap.js';

const USAGE = `usage: npm run test:lab -- [--full] [--test TEST] [--pool GIB] [--fault NAME]... [--likeness] [--coordinator COMMAND]

Without options: test 1 with a pool of 8 GiB, test 2 with 6, test 3 with 3, the faults that need no long waits, whether the simulated
guest is like a real one, and the quick tests of page cache. --full runs all three with all three pools, all faults and all tests of page
cache. --test and --pool choose among the tests, --likeness is that comparison alone. --test cache is all tests of page cache, or one by name:
  ${CACHE_TESTS.map(({ name }) => name).join(', ')}
--fault chooses among the faults:
  ${FAULTS.map(({ name }) => name).join(', ')}
--coordinator judges another coordinator than memcoord by the tests: a shell's command line that runs until SIGTERM, given the
libvirt URI and the pool in the environment (LAB_URI, LAB_POOL_MIB).`;

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      full: { type: 'boolean' },
      test: { type: 'string' },
      pool: { type: 'string' },
      fault: { type: 'string', multiple: true },
      likeness: { type: 'boolean' },
      coordinator: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return true;
  }
  const { full = false, test, pool, coordinator } = values;
  const chosen = test !== undefined || pool !== undefined || values.likeness === true;
  const tests = values.likeness === true ? [] : full || chosen ? classicRuns(test, pool) : values.fault === undefined ? SHORT : [];
  const quick = FAULTS.filter(({ slow }) => slow !== true);
  const faults = values.fault !== undefined ? faultsNamed(values.fault) : chosen || coordinator !== undefined ? [] : full ? FAULTS : quick;
  const cache = chosen || values.fault !== undefined ? cacheTests(test) : CACHE_TESTS.filter(({ slow }) => full || slow !== true);
  const likeness = values.likeness === true || (!chosen && values.fault === undefined && coordinator === undefined);
  if (tests.length + faults.length + cache.length === 0 && !likeness) throw new LabError(USAGE);

  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  const tap = startTap();
  await claim();
  ownSurroundings();
  const ours = (await readLab()) === null;
  const lab = await up(guestSpecs(), tap.tell, controller.signal);
  try {
    await runClassic(tests, lab, coordinator, tap, controller.signal);
    if (likeness) await runLikeness(lab, tap);
    await runFaults(faults, lab, tap, controller.signal);
    await runCache(cache, lab, coordinator, tap, controller.signal);
  } finally {
    if (ours) await down(tap.tell);
    else await startEnded(lab.guests);
  }
  return tap.end();
}

main().then(
  (passed) => {
    process.exitCode = passed ? 0 : 1;
  },
  (error: unknown) => {
    console.error(error instanceof LabError ? error.message : error);
    process.exitCode = 1;
  },
);
