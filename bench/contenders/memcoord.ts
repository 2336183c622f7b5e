/**
 * `memcoord.js URI sweep|cycle`: memcoord as a contender; answers as ../contender.ts has it.
 *
 * sweep: the addon alone: one reading of all guests, and one call that sets them all.
 * cycle: all that `memcoord run` does in a sample: the Coordinator itself over libvirt, which reads guests and host, plans, and makes up its
 * snapshot. It is on a dry run, and the moves that all contenders make are made in place of the plan's own.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Coordinator, type CoordinatorOptions, defaultConfig, type Hypervisor, open } from 'memcoord';

const DEADLINE = { deadlineMs: 30_000 };

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** @returns the size to set the guests to, KiB; null = only read; undefined at the end. */
async function told(): Promise<number | null | undefined> {
  const { value, done } = await lines.next();
  return done === true ? undefined : value === '' ? null : Number(value);
}

function answer(startedAt: number): void {
  const wall = performance.now() - startedAt;
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${wall.toFixed(3)} ${((user + system) / 1000).toFixed(3)}\n`);
}

async function setAll(hypervisor: Hypervisor, guests: readonly { readonly uuid: string }[], kib: number): Promise<void> {
  const errors = await hypervisor.setMemory(
    guests.map(({ uuid }) => ({ uuid, kib })),
    DEADLINE,
  );
  const error = errors.find((error) => error !== null);
  if (error) throw error;
}

async function sweeps(hypervisor: Hypervisor): Promise<void> {
  process.stdout.write('ready\n');
  for (let size = await told(); size !== undefined; size = await told()) {
    const startedAt = performance.now();
    const { guests } = await hypervisor.sample(DEADLINE);
    if (size !== null) await setAll(hypervisor, guests, size);
    answer(startedAt);
  }
}

/**
 * A sample begins with the sweep, and is over when the coordinator goes to rest, or asks for the next sweep where it has no time to. The next
 * waits until it is told to begin. The first one also makes the guests' acquaintance.
 */
async function cycles(hypervisor: Hypervisor, uri: string): Promise<void> {
  let guests: readonly { readonly uuid: string }[] = [];
  let size: number | null | undefined = null;
  let startedAt: number | null = null;
  let begun = Promise.resolve();
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const finish = async (): Promise<void> => {
    if (startedAt === null) return;
    if (typeof size === 'number') await setAll(hypervisor, guests, size);
    answer(startedAt);
    startedAt = null;
  };
  const begin = async (): Promise<void> => {
    await finish();
    size = await told();
    if (size === undefined) {
      end();
      return new Promise(() => undefined);
    }
    startedAt = performance.now();
  };
  const watched: Hypervisor = {
    ...hypervisor,
    async sample(options) {
      begun = begin();
      await begun;
      const sweep = await hypervisor.sample(options);
      guests = sweep.guests;
      return sweep;
    },
    async hostMemory() {
      await begun;
      return hypervisor.hostMemory();
    },
  };
  const time: CoordinatorOptions['time'] = {
    now: () => Number(process.hrtime.bigint()) / 1e6,
    sleep: (ms) => ({ done: finish().then(() => sleep(ms)), wake: () => undefined }),
  };
  // No extra samples of some guests: every sample is a cycle. The interval is the shortest that there is.
  const config = { ...defaultConfig(), uri, intervalMs: 100, samplingBudget: 0 };
  const coordinator = new Coordinator({ connect: async () => watched, config, dryRun: true, state: null, time });
  const fail = (error: Error): void => {
    console.error(error);
    process.exit(1);
  };
  coordinator.on('lost', fail);
  process.stdout.write('ready\n');
  coordinator.start().catch(fail);
  await ended;
}

const [uri = '', part] = process.argv.slice(2);
const hypervisor = await open(uri);
await (part === 'sweep' ? sweeps(hypervisor) : cycles(hypervisor, uri));
process.exit();
