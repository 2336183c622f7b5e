/** What does it cost to be watched? CPU of an idle `memcoord run`, of libvirt's daemon and of the guests, against the same time without it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { qemusOf } from '../test/lab/processes.js';
import { parseMove } from '../test/lab/scenario.js';
import { LabError, ROOT, sleep } from '../test/lab/shell.js';
import { cpuTicks } from './process.js';
import type { Answer, Bars, Bench, HostName, Mode, Question } from './question.js';

/** CPU, % of a core. */
interface Cost {
  readonly name: string;
  readonly seconds: number;
  readonly memcoord: number;
  readonly daemon: number;
  readonly guests: number;
  /** Targets that memcoord set meanwhile: none, where the guests were idle indeed. */
  readonly moves: number;
}

/** The guests have given what they do not need when memcoord has moved nobody for so long; waited for that at most so long. */
const QUIET_S = 10;
const SETTLE_S = 90;
const DEFAULT_EYES = '--sampling-budget 5% (default)';
const WITHOUT = 'without memcoord';

interface Watch {
  readonly name: string;
  readonly seconds: number;
  /** Options of `memcoord run`; null = not run. */
  readonly options: readonly string[] | null;
}

function watches(mode: Mode, host: HostName): Watch[] {
  const short = mode === 'full' ? 60 : host === 'real20' ? 20 : 30;
  return [
    { name: WITHOUT, seconds: short, options: null },
    { name: '--sampling-budget 0', seconds: short, options: ['--sampling-budget', '0%'] },
    { name: DEFAULT_EYES, seconds: host === 'real20' ? short : 60, options: [] },
  ];
}

async function watch({ name, seconds, options }: Watch, { host, signal, say }: Bench): Promise<Cost> {
  say(`${host.guests.length} idle guests, ${name}, ${seconds} s`);
  const qemus = await qemusOf(host.lab?.guests.map(({ uuid }) => uuid) ?? []);
  if (qemus.length !== host.guests.length) throw new LabError(`${qemus.length} QEMU processes are found for ${host.guests.length} guests`);
  const args = ['dist/cli/main.js', 'run', '--connect', host.uri, '--log-format', 'json', ...(options ?? [])];
  // Detached: Ctrl-C is for us, who then stop it in order.
  const child = options === null ? null : spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let moves = 0;
  let movedAt = performance.now();
  if (child !== null)
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (parseMove(line, 0) === null) return;
      moves++;
      movedAt = performance.now();
    });
  const exited = child === null ? null : once(child, 'exit');
  const rest = async (ms: number): Promise<void> => {
    const end = performance.now() + ms;
    while (performance.now() < end && !signal.aborted) await sleep(Math.min(500, end - performance.now()));
    signal.throwIfAborted();
    if (child !== null && child.exitCode !== null) throw new LabError(`memcoord ended by itself (exit code ${child.exitCode})`);
  };
  try {
    const settled = performance.now() + SETTLE_S * 1000;
    while (child !== null && performance.now() < Math.min(settled, movedAt + QUIET_S * 1000)) await rest(500);
    const read = async (): Promise<number[]> => {
      const cpu = await Promise.all(
        [child?.pid ?? null, host.daemon, ...qemus].map(async (pid) => (pid === null ? 0 : await cpuTicks(pid))),
      );
      return [performance.now(), cpu[0] ?? 0, cpu[1] ?? 0, cpu.slice(2).reduce((sum, each) => sum + each, 0), moves];
    };
    const before = await read();
    await rest(seconds * 1000);
    const after = await read();
    const [elapsed = 0, memcoord = 0, daemon = 0, guests = 0, moved = 0] = after.map((value, i) => value - (before[i] ?? 0));
    const percent = (cpu: number): number => (cpu / elapsed) * 100;
    return { name, seconds, memcoord: percent(memcoord), daemon: percent(daemon), guests: percent(guests), moves: moved };
  } finally {
    child?.kill('SIGTERM');
    await exited;
  }
}

async function measure(bench: Bench): Promise<readonly Cost[]> {
  const costs: Cost[] = [];
  for (const each of watches(bench.mode, bench.host.name)) costs.push(await watch(each, bench));
  return costs;
}

function answer(found: ReadonlyMap<HostName, readonly Cost[]>): Answer {
  const all = [...found].flatMap(([host, costs]) =>
    costs.map((cost) => ({ ...cost, on: host === 'real4' ? '4 guests' : '20 guests', base: costs[0] })),
  );
  const plot: Bars = {
    kind: 'bars',
    title: 'CPU of an idle host',
    y: { title: '% of a core' },
    groups: all.map(({ on, name }) => `${on}, ${name}`),
    series: [
      { name: 'memcoord', values: all.map(({ memcoord }) => memcoord) },
      { name: 'libvirtd', values: all.map(({ daemon }) => daemon) },
      { name: 'all QEMUs', values: all.map(({ guests }) => guests) },
    ],
  };
  return {
    tables: [
      {
        title: 'CPU of an idle host, % of a core',
        columns: ['guests', 'memcoord', 'libvirtd', 'all QEMUs', 'added by being watched', 'targets set', 'seconds'],
        rows: all.map(({ on, name, seconds, memcoord, daemon, guests, moves, base }) => ({
          name: `${on}, ${name}`,
          cells: [
            name === WITHOUT ? null : memcoord,
            daemon,
            guests,
            name === WITHOUT || base === undefined ? null : memcoord + daemon + guests - base.daemon - base.guests,
            name === WITHOUT ? null : String(moves),
            String(seconds),
          ],
        })),
      },
    ],
    ratios: [],
    plot,
    notes: [
      `Measured once memcoord has moved no guest for ${QUIET_S} s, or after ${SETTLE_S} s. Under software emulation a guest that takes figures once a second costs more than it would with KVM.`,
    ],
  };
}

export const watched: Question<readonly Cost[]> = {
  name: 'watched',
  title: 'The cost of being watched',
  hosts: (mode) => (mode === 'quick' ? [] : ['real4', 'real20']),
  measure,
  answer,
};
