/**
 * `npm run test:lab`: the three classic tests on real guests, as TAP. Runs are kept in .lab/results for scripts/plots.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { claim, down, guestSpecs, readLab, up } from './guests.js';
import { judge } from './judge.js';
import { Virsh } from './observer.js';
import { runScenario } from './scenario.js';
import { LAB, LabError } from './shell.js';

const GiB = 1024 * 1024;

const USAGE = `usage: npm run test:lab -- [--full] [--test N] [--pool GIB] [--coordinator COMMAND]

Without options: test 1 with a pool of 8 GiB, test 2 with 6, test 3 with 3. --full runs all three with all three pools (half an hour).
--test and --pool choose. --coordinator judges another coordinator than memcoord: a shell's command line that runs until SIGTERM, given the
libvirt URI and the pool in the environment (LAB_URI, LAB_POOL_MIB).`;

type Test = 1 | 2 | 3;

const TESTS: readonly Test[] = [1, 2, 3];
const POOLS = [8, 6, 3];
const SHORT: readonly (readonly [Test, number])[] = [
  [1, 8],
  [2, 6],
  [3, 3],
];

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      full: { type: 'boolean' },
      test: { type: 'string' },
      pool: { type: 'string' },
      coordinator: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return true;
  }
  const chosen = values.full === true || values.test !== undefined || values.pool !== undefined;
  const runs = (chosen ? TESTS.flatMap((test) => POOLS.map((pool) => [test, pool] as const)) : SHORT).filter(
    ([test, pool]) => (values.test ?? String(test)) === String(test) && (values.pool ?? String(pool)) === String(pool),
  );
  if (runs.length === 0) throw new LabError(USAGE);

  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  const tell = (line: string): void => console.log(`# ${line}`);
  let [count, failed] = [0, 0];
  const result = (ok: boolean, name: string, detail: string): void => {
    count++;
    if (!ok) failed++;
    const skipped = detail.startsWith('SKIP');
    // In TAP a number sign begins a directive.
    console.log(
      `${ok ? 'ok' : 'not ok'} ${count} - ${name.replaceAll('#', '')}${skipped ? ` # ${detail}` : ` (${detail.replaceAll('#', '')})`}`,
    );
  };

  console.log('TAP version 14');
  await claim();
  const ours = (await readLab()) === null;
  const lab = await up(guestSpecs(), tell, controller.signal);
  const virsh = new Virsh(lab.uri);
  try {
    await mkdir(join(LAB, 'results'), { recursive: true });
    for (const [test, gib] of runs) {
      const title = `test ${test}, pool ${gib} GiB`;
      tell(title);
      process.env.LAB_POOL_MIB = String(gib * 1024);
      process.env.LAB_URI = lab.uri;
      try {
        const options = { test, pool: gib * GiB, coordinator: values.coordinator, virsh, tell, signal: controller.signal };
        const recording = await runScenario(lab, options);
        const verdicts = judge(recording);
        for (const verdict of verdicts) result(verdict.ok, `${title}: ${verdict.name}`, verdict.detail);
        await writeFile(
          join(LAB, 'results', `test${test}-${gib}GiB.json`),
          JSON.stringify({ recording, verdicts, coordinator: values.coordinator ?? 'memcoord' }),
        );
      } catch (error) {
        if (controller.signal.aborted) throw new LabError('interrupted');
        result(false, `${title}: is carried out`, error instanceof Error ? error.message : String(error));
      }
    }
  } finally {
    virsh.end();
    if (ours) await down(tell);
  }
  console.log(`1..${count}`);
  console.log(`# ${count - failed} passed, ${failed} failed`);
  return failed === 0;
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
