/** Does memcoord grow as it runs? */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LAB, ROOT, run } from '../test/lab/shell.js';
import { guestXml } from './hosts.js';
import type { Answer, Bench, HostName, Lines, Mode, Question, Ratio } from './question.js';
import { median } from './statistics.js';

/** What a process holds after so many cycles, and after a garbage collection. */
export interface Held {
  readonly cycles: number;
  /** Targets set so far. */
  readonly moves: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
}

/** Until then what V8 and the C library set aside is still growing. */
const SETTLED = 1000;

function marks(mode: Mode): number[] {
  const [step, last] = mode === 'quick' ? [250, 2000] : [1000, 10_000];
  return [100, ...Array.from({ length: (last - SETTLED) / step + 1 }, (_, i) => SETTLED + i * step)];
}

const GUESTS = 100;

/** A host of the test driver for inside a process. @returns its URI. */
async function hostFile(): Promise<string> {
  const file = join(LAB, 'bench/host.xml');
  await mkdir(join(LAB, 'bench'), { recursive: true });
  await writeFile(file, `<node>${Array.from({ length: GUESTS }, (_, i) => guestXml(`guest${i}`)).join('')}</node>`);
  return `test://${file}`;
}

async function measure({ host, mode, say }: Bench): Promise<readonly Held[]> {
  const all = marks(mode);
  const through = host.name === 'none' ? 'inside the process' : 'behind a daemon';
  say(`${all.at(-1)} cycles of the coordinator over ${GUESTS} guests of the test driver, ${through}`);
  const uri = host.name === 'none' ? await hostFile() : host.uri;
  const args = ['--expose-gc', '.lab/js/bench/contenders/memory.js', uri, ...all.map(String)];
  const { stdout } = await run(process.execPath, args, { cwd: ROOT, timeoutMs: 1_200_000 });
  return JSON.parse(stdout) as Held[];
}

const countText = (count: number | undefined): string => (count ?? Number.NaN).toLocaleString('en');

function answer(found: ReadonlyMap<HostName, readonly Held[]>): Answer {
  const runs = [...found].map(([host, held]) => ({
    through: host === 'none' ? 'test driver inside the process' : 'test driver behind a daemon',
    held,
  }));
  const ratios = runs.map(({ through, held }): Ratio => {
    const settled = held.filter(({ cycles }) => cycles >= SETTLED).map(({ rssMiB }) => rssMiB);
    const half = Math.floor(settled.length / 2);
    return {
      name: `RSS in the later half / in the earlier half of cycles ${countText(SETTLED)} to ${countText(held.at(-1)?.cycles)}, ${through}`,
      value: median(settled.slice(-half)) / median(settled.slice(0, half)),
      target: 1.05,
      bound: 'atMost',
    };
  });
  const plot: Lines = {
    kind: 'lines',
    title: 'Memory of memcoord over its cycles',
    x: { title: 'cycles' },
    y: { title: 'MiB' },
    series: runs.flatMap(({ through, held }) => [
      { name: `RSS, ${through}`, points: held.map(({ cycles, rssMiB }) => [cycles, rssMiB] as const) },
      { name: `JavaScript's heap, ${through}`, points: held.map(({ cycles, heapMiB }) => [cycles, heapMiB] as const) },
    ]),
  };
  return {
    tables: runs.map(({ through, held }) => ({
      title: `Memory of a coordinator of ${GUESTS} guests, ${through}`,
      columns: ['cycles', 'targets set', 'RSS, MiB', "JavaScript's heap in use, MiB"],
      rows: held
        .filter(({ cycles }, i) => cycles <= SETTLED || i === held.length - 1)
        .map(({ cycles, moves, rssMiB, heapMiB }) => ({ name: countText(cycles), cells: [countText(moves), rssMiB, heapMiB] })),
    })),
    ratios,
    plot,
    notes: ['Whole cycles at full speed, calls of libvirt included; each figure after a garbage collection. The ratio is of medians.'],
  };
}

export const memory: Question<readonly Held[]> = {
  name: 'memory',
  title: 'Memory over many cycles',
  // Through a daemon a cycle takes ten times as long.
  hosts: (mode) => (mode === 'full' ? ['none', 'test100'] : ['none']),
  measure,
  answer,
};
