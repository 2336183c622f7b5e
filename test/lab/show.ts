/**
 * The end of `npm start`: boots the lab, runs memcoord on it with a workload that follows the third classic test, and shows for two
 * minutes what becomes of the guests' memory. Takes the lab down however it ends.
 */
import { say } from './agent.js';
import { claim, down, guestSpecs, type Lab, readLab, up } from './guests.js';
import { read, Virsh } from './observer.js';
import type { LoggedMove, Sample } from './recording.js';
import { type Coordinator, coordinatorCommand, startCoordinator } from './scenario.js';
import { LabError, sleep } from './shell.js';

const MiB = 1024;
const POOL = 3 * 1024 * MiB;
const LENGTH_S = 120;
/** How often a line is printed per guest where the table cannot be redrawn. */
const PLAIN_EVERY_S = 5;

/** Orders to the guests, by the second at which they are given. 950 MiB is about what the pool can give two guests while the others idle. */
const WORKLOAD: readonly {
  readonly at: number;
  readonly what: string;
  readonly orders: readonly (readonly [guest: number, order: string])[];
}[] = [
  { at: 0, what: 'all four idle', orders: [] },
  { at: 5, what: 'all four eat 400 MiB, at 18 MiB/s each', orders: [0, 1, 2, 3].map((guest) => [guest, 'eat 400 18'] as const) },
  {
    at: 40,
    what: 'aos_vm1 and aos_vm2 have freed theirs, aos_vm3 and aos_vm4 go on to 950 MiB',
    orders: [
      [0, 'free'],
      [1, 'free'],
      [2, 'eat 950 18'],
      [3, 'eat 950 18'],
    ],
  },
  {
    at: 80,
    what: 'aos_vm3 and aos_vm4 have freed theirs too',
    orders: [
      [2, 'free'],
      [3, 'free'],
    ],
  },
];

const size = (kib: number | undefined): string => (kib === undefined || Number.isNaN(kib) ? '-' : String(Math.round(kib / MiB)));

/** What a guest cannot have free, as it is more than its balloon leaves it, is a figure of its boot: nobody has asked it for new ones yet. */
const current = (unused: number, actual: number): number => (unused > actual ? Number.NaN : unused);

/** A bar of the guest's maximum: what it uses, what of its balloon is unused, what it could still be given. */
export function bar(actual: number, unused: number, maximum: number, width: number): string {
  const filled = Math.min(width, Math.round((actual / maximum) * width));
  const free = Number.isNaN(unused) ? 0 : Math.max(0, Math.min(filled, Math.round((unused / maximum) * width)));
  return '█'.repeat(filled - free) + '▒'.repeat(free) + '·'.repeat(width - filled);
}

/** The last move of each guest, by name. */
function lastMoves(moves: readonly LoggedMove[]): Map<string, LoggedMove> {
  return new Map(moves.map((move) => [move.guest, move]));
}

function table(lab: Lab, sample: Sample, moves: readonly LoggedMove[], what: string, columns: number): string[] {
  const last = lastMoves(moves);
  const given = sample.actual.reduce((total, actual) => total + actual, 0);
  const width = Math.max(10, Math.min(48, columns - 52));
  const rows = lab.guests.map((guest, index) => {
    const actual = sample.actual[index] ?? Number.NaN;
    const unused = current(sample.unused[index] ?? Number.NaN, actual);
    const move = last.get(guest.name);
    const figures = [size(actual), size(unused), size(move?.to)].map((text) => text.padStart(7)).join(' ');
    return `${guest.name.padEnd(9)}${figures}  ${bar(actual, unused, guest.maximum * MiB, width)}  ${move?.reason ?? ''}`;
  });
  return [
    `${String(Math.floor(sample.t)).padStart(3)} s  ${what}`,
    `       ${size(given)} of ${size(POOL)} MiB of the pool given out`,
    '',
    `${'guest'.padEnd(9)}${['actual', 'unused', 'target'].map((text) => text.padStart(7)).join(' ')}  ${'█ used ▒ unused'.padEnd(width)}  last reason`,
    ...rows,
  ].map((line) => line.slice(0, columns - 1));
}

/** What moved, in the end. */
export function summary(guests: readonly string[], moves: readonly LoggedMove[]): string[] {
  return guests.map((guest) => {
    const own = moves.filter((move) => move.guest === guest);
    const total = (sign: number): number => own.reduce((sum, move) => sum + Math.max(0, sign * (move.to - move.from)), 0);
    return `  ${guest}  ${String(own.length).padStart(3)} moves: ${size(total(1)).padStart(5)} MiB given to it, ${size(total(-1)).padStart(5)} MiB taken from it`;
  });
}

async function show(lab: Lab, virsh: Virsh, signal: AbortSignal, started: (coordinator: Coordinator) => void): Promise<void> {
  const startedAt = Date.now();
  const now = (): number => (Date.now() - startedAt) / 1000;
  const said: string[] = [];
  const coordinator = startCoordinator(coordinatorCommand(lab.uri, POOL, undefined), startedAt, (line) => said.push(line));
  started(coordinator);
  let ended = false;
  coordinator.exited.then(() => {
    ended = true;
  });
  const redraw = process.stdout.isTTY === true;
  const names = lab.guests.map((guest) => guest.name);
  let [step, what, drawn, plainAt] = [0, '', 0, 0];
  while (now() < LENGTH_S && !signal.aborted) {
    if (ended) throw new LabError(`memcoord ended by itself:\n${said.slice(-10).join('\n')}`);
    const next = WORKLOAD[step];
    if (next !== undefined && now() >= next.at) {
      step++;
      what = next.what;
      if (!redraw) console.log(`${now().toFixed(0)} s: ${what}`);
      await Promise.all(next.orders.map(async ([index, order]) => await say(names[index] ?? '', lab.guests[index]?.socket ?? '', order)));
    }
    const sample = await read(virsh, names, now);
    if (redraw) {
      const lines = table(lab, sample, coordinator.moves, what, process.stdout.columns ?? 80);
      // Up to the first line of the last table, and over it line by line: nothing flickers, and nothing of a longer line stays.
      process.stdout.write(`${drawn > 0 ? `\x1b[${drawn}A` : ''}${lines.map((line) => `\x1b[2K${line}\n`).join('')}`);
      drawn = lines.length;
    } else if (now() >= plainAt) {
      plainAt += PLAIN_EVERY_S;
      const last = lastMoves(coordinator.moves);
      names.forEach((name, index) => {
        const move = last.get(name);
        const actual = sample.actual[index] ?? Number.NaN;
        const unused = current(sample.unused[index] ?? Number.NaN, actual);
        const told = move === undefined ? '' : `, target ${size(move.to)} MiB (${move.reason})`;
        console.log(
          `${String(Math.floor(sample.t)).padStart(3)} s  ${name}  actual ${size(actual)} MiB, unused ${size(unused)} MiB${told}`,
        );
      });
    }
    await sleep(1000 - ((Date.now() - startedAt) % 1000));
  }
  console.log(signal.aborted ? '\nInterrupted. What moved until then:' : '\nWhat moved:');
  for (const line of summary(names, coordinator.moves)) console.log(line);
}

async function main(): Promise<void> {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => controller.abort());
  const tell = (line: string): void => console.log(line);
  await claim();
  const ours = (await readLab()) === null;
  let coordinator: Coordinator | undefined;
  let virsh: Virsh | undefined;
  try {
    const lab = await up(guestSpecs(), tell, controller.signal);
    console.log(
      `\nmemcoord shares out a pool of 3 GiB among four guests of 2 GiB each, for ${LENGTH_S / 60} minutes. Ctrl-C ends it early.\n`,
    );
    virsh = new Virsh(lab.uri);
    await show(lab, virsh, controller.signal, (started) => {
      coordinator = started;
    });
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  } finally {
    if (coordinator !== undefined) {
      const { child, exited } = coordinator;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await exited;
      clearTimeout(timer);
    }
    virsh?.end();
    if (ours) await down(tell);
  }
  if (controller.signal.aborted) process.exitCode = 130;
}

main().catch((error: unknown) => {
  console.error(error instanceof LabError ? error.message : error);
  process.exitCode = 1;
});
