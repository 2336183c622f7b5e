/** What does one reading on the command line take, from start to end of the process? */
import { LabError, ROOT, run } from '../test/lab/shell.js';
import type { Answer, Bars, Bench, HostName, Question } from './question.js';
import { median, quantile } from './statistics.js';

interface Run {
  readonly name: string;
  /** Of each run, ms. */
  readonly wall: readonly number[];
  readonly cpu: readonly number[];
}

const ROUNDS = { quick: 5, normal: 15, full: 100 };
const [DOMSTATS, NODE] = ['virsh domstats --balloon', 'node, an empty program'];

function commands(uri: string): { readonly name: string; readonly command: readonly string[] }[] {
  const memcoord = (...args: string[]): string[] => [process.execPath, 'dist/cli/main.js', ...args];
  return [
    { name: DOMSTATS, command: ['virsh', '-q', '-c', uri, 'domstats', '--balloon'] },
    { name: 'memcoord status', command: memcoord('status', '--connect', uri) },
    { name: 'memcoord --version', command: memcoord('--version') },
    { name: 'memcoord --help', command: memcoord('--help') },
    { name: NODE, command: [process.execPath, '--eval', ''] },
  ];
}

/** Wall and CPU time of a command, children included, ms, as bash's own `time` has them. */
async function timed(command: readonly string[]): Promise<{ wall: number; cpu: number }> {
  const { stderr } = await run('bash', ['-c', 'TIMEFORMAT="%3R %3U %3S"; time "$@" >/dev/null', 'bash', ...command], {
    cwd: ROOT,
    env: { ...process.env, LC_ALL: 'C' },
  });
  const [wall = Number.NaN, user = Number.NaN, system = Number.NaN] = (stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number);
  if (Number.isNaN(system)) throw new LabError(`cannot read the time that ${command.join(' ')} took: ${stderr}`);
  return { wall: wall * 1000, cpu: (user + system) * 1000 };
}

async function measure({ host, mode, signal, say }: Bench): Promise<Run[]> {
  say('whole processes: one reading each');
  const runs = commands(host.uri).map((each) => ({ ...each, wall: [] as number[], cpu: [] as number[] }));
  // The first round fills the page cache.
  for (let round = 0; round <= ROUNDS[mode]; round++) {
    for (const each of runs) {
      signal.throwIfAborted();
      const { wall, cpu } = await timed(each.command);
      if (round === 0) continue;
      each.wall.push(wall);
      each.cpu.push(cpu);
    }
  }
  return runs.map(({ name, wall, cpu }) => ({ name, wall, cpu }));
}

function answer(found: ReadonlyMap<HostName, readonly Run[]>): Answer {
  const runs = found.get('real4') ?? [];
  const base = median(runs.find(({ name }) => name === DOMSTATS)?.wall ?? []);
  const plot: Bars = {
    kind: 'bars',
    title: 'One reading as a whole process, median',
    y: { title: 'ms' },
    groups: ['wall', 'CPU'],
    series: runs.map(({ name, wall, cpu }) => ({ name, values: [median(wall), median(cpu)] })),
  };
  return {
    tables: [
      {
        title: 'One reading of 4 real guests, as a whole process',
        columns: ['command', 'wall p50, ms', 'wall p99, ms', 'CPU, ms', '× virsh domstats, wall'],
        rows: runs.map(({ name, wall, cpu }) => ({ name, cells: [median(wall), quantile(wall, 0.99), median(cpu), median(wall) / base] })),
      },
    ],
    ratios: [],
    plot,
    notes: [
      `Most of what memcoord takes is Node's own start, which "${NODE}" shows; --version and --help load neither the addon nor the rest.`,
    ],
  };
}

export const oneshot: Question<readonly Run[]> = {
  name: 'oneshot',
  title: 'One reading on the command line',
  hosts: () => ['real4'],
  measure,
  answer,
};
