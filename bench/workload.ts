/**
 * Guests that suddenly need memory, under one coordinator or another: what the questions on reaction, burst and step have in common.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { report, say } from '../test/lab/agent.js';
import { virsh } from '../test/lab/daemon.js';
import { balloon, type Guest, type Lab } from '../test/lab/guests.js';
import { LabError, ROOT, run, sleep } from '../test/lab/shell.js';
import type { Bench } from './question.js';

const MiB = 1024;
/** What every guest is set to before a run, KiB, as the classic tests do. */
const START = 512 * MiB;

/** A raise or a cut that a coordinator ordered; KiB. */
export interface Order {
  /** `performance.now()` when it was told. */
  readonly at: number;
  readonly guest: string;
  readonly from: number;
  readonly to: number;
}

/** A coordinator at work. */
export interface Coordination {
  /** All orders so far. */
  readonly orders: readonly Order[];
  stop(): Promise<void>;
}

/** memcoord with some options, or the shell loop. */
export type Contender = { readonly kind: 'memcoord'; readonly options: readonly string[] } | { readonly kind: 'virsh' };

/** Those that the questions compare, by the name that the tables have. */
export const COORDINATORS = {
  memcoord: { kind: 'memcoord', options: [] },
  'memcoord, fast sampling off': { kind: 'memcoord', options: ['--sampling-budget', '0%'] },
  'virsh loop, 2 s': { kind: 'virsh' },
} as const satisfies Readonly<Record<string, Contender>>;

/** The lab of a host that has real guests. */
export function theLabOf({ host }: Bench): Lab {
  if (host.lab === null) throw new Error(`the host ${host.name} has no real guests`);
  return host.lab;
}

/** Has a coordinator at work while `during` runs, and leaves the guests with nothing eaten. */
export async function coordinated<T>(bench: Bench, contender: Contender, during: (coordination: Coordination) => Promise<T>): Promise<T> {
  const lab = theLabOf(bench);
  const coordination = coordinate(lab, contender);
  try {
    return await during(coordination);
  } finally {
    await Promise.all(lab.guests.map(async ({ name, socket }) => await say(name, socket, 'free', 30_000)));
    await coordination.stop();
    // What the shell loop has switched on.
    if (contender.kind === 'virsh') for (const { name } of lab.guests) await virsh('dommemstat', name, '--period', '0', '--live');
  }
}

/** What `memcoord status` says that a guest would survive right now, MiB/s. */
export async function survivableBurst(lab: Lab, guest: Guest, options: readonly string[]): Promise<number> {
  const command = [join(ROOT, 'dist/cli/main.js'), 'status', '--json', '--connect', lab.uri, ...options];
  const { guests } = JSON.parse((await run(process.execPath, command)).stdout) as { guests: { name: string; survivableBurst: number }[] };
  return (guests.find(({ name }) => name === guest.name)?.survivableBurst ?? Number.NaN) / 1024;
}

function coordinate(lab: Lab, contender: Contender): Coordination {
  const [command, ...args] =
    contender.kind === 'virsh'
      ? [join(ROOT, 'bench/contenders/coordinator.sh'), lab.uri, ...lab.guests.map(({ name }) => name)]
      : [process.execPath, join(ROOT, 'dist/cli/main.js'), 'run', '--connect', lab.uri, '--log-format', 'json', ...contender.options];
  // A group of its own: a shell loop ends with what it has started.
  const child = spawn(command as string, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const orders: Order[] = [];
  const words: string[] = [];
  let stopping = false;
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [guest = '', from, to] = line.split(' ');
    orders.push({ at: performance.now(), guest, from: Number(from), to: Number(to) });
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    const at = performance.now();
    const entry = contender.kind === 'memcoord' && line.startsWith('{') ? JSON.parse(line) : { msg: line };
    if (entry.msg === 'move' && entry.applied === true) orders.push({ at, guest: entry.guest, from: entry.from, to: entry.to });
    else words.push(String(entry.msg));
  });
  child.on('exit', (code) => {
    if (!stopping) words.push(`ended by itself (${code})`);
  });
  return {
    orders,
    async stop() {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null)
        throw new LabError(`the coordinator did not last: ${words.slice(-3).join('; ')}`);
      process.kill(-(child.pid as number), 'SIGTERM');
      await ended;
    },
  };
}

/** All guests free what they hold and are set to 512 MiB; resolves once the coordinator has let their balloons come to rest. */
export async function rest(bench: Bench, coordination: Coordination, restMs: number): Promise<void> {
  const lab = theLabOf(bench);
  await Promise.all(lab.guests.map(async ({ name, socket }) => await say(name, socket, 'free', 30_000)));
  for (const { name } of lab.guests) await virsh('setmem', name, String(START), '--live');
  // Who is moved behind its back leaves a guest alone for a while.
  await wait(bench, 6000);
  await settle(bench, coordination);
  await wait(bench, restMs);
}

/** Resolves after four seconds without a move that matters; coordinators that never come to rest are taken as they are after a minute. */
export async function settle(bench: Bench, { orders }: Coordination): Promise<void> {
  const end = performance.now() + 60_000;
  const quiet = (): boolean => orders.every(({ at, from, to }) => performance.now() - at > 4000 || Math.abs(to - from) < 8 * MiB);
  await wait(bench, 4000);
  while (!quiet() && performance.now() < end) await wait(bench, 500);
}

async function wait({ signal }: Bench, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    if (signal.aborted) throw new LabError('interrupted');
    await sleep(Math.min(left, 500));
  }
}

/** What became of a guest that ate. */
export interface Meal {
  /** Its eater holds all that it was to take, and nothing was swapped out. */
  readonly survived: boolean;
  /** `survived`, or what happened instead. */
  readonly fate: 'survived' | 'killed' | 'swapped' | 'too slow';
  /** From the first byte eaten until the target was first raised, ms; null = never. */
  readonly raisedMs: number | null;
  /** From the first byte eaten until the guest held all, ms; null = never. */
  readonly heldMs: number | null;
  /** Least MemAvailable that the guest itself saw meanwhile, KiB. */
  readonly leastSpare: number;
  /** MemAvailable and balloon before, KiB. */
  readonly spareBefore: number;
  readonly balloonBefore: number;
  /** MiB/s that it really ate at. */
  readonly rate: number;
  /** What the host saw meanwhile: ms since the first byte, KiB. */
  readonly series: readonly { readonly ms: number; readonly balloon: number; readonly eaten: number; readonly spare: number }[];
}

/** One guest takes `mib` MiB at `rate` MiB/s. */
export async function eat(bench: Bench, guest: Guest, coordination: Coordination, mib: number, rate: number): Promise<Meal> {
  const { name, socket } = guest;
  const before = await report(name, socket);
  const [balloonBefore, orderedBefore] = [await balloon(name), coordination.orders.length];
  await say(name, socket, `eat ${mib} ${rate}`);
  const told = performance.now();
  // A starved guest is slow; one that takes three times its time, and 20 s more, is not served.
  const limit = told + (3 * mib * 1000) / rate + 20_000;
  const series: { at: number; balloon: number; eaten: number; spare: number }[] = [];
  let [begunAt, heldAt, last] = [told, null as number | null, before];
  let fate: Meal['fate'] = 'too slow';
  while (performance.now() < limit) {
    last = await report(name, socket, 30_000);
    const at = performance.now();
    if ((last.begun_ms_ago ?? -1) >= 0) begunAt = at - (last.begun_ms_ago ?? 0);
    // The guest's balloon is what its kernel counts plus a constant.
    const size = balloonBefore + (last.MemTotal ?? 0) - (before.MemTotal ?? 0);
    series.push({ at, balloon: size, eaten: last.eaten ?? 0, spare: last.MemAvailable ?? 0 });
    if ((last.eaters_killed ?? 0) > (before.eaters_killed ?? 0) || last.failed === 1) {
      fate = 'killed';
      break;
    }
    if ((last.held_ms_ago ?? -1) >= 0) {
      heldAt = at - (last.held_ms_ago ?? 0);
      fate = (last.pswpout ?? 0) > (before.pswpout ?? 0) ? 'swapped' : 'survived';
      break;
    }
    await wait(bench, 50);
  }
  const raised = coordination.orders
    .slice(orderedBefore)
    .find((order) => order.guest === name && order.to > order.from && order.at >= begunAt);
  const eaten = fate === 'killed' ? (last.last_eaten ?? 0) : (last.eaten ?? 0);
  const end = heldAt ?? series.at(-1)?.at ?? told;
  return {
    survived: fate === 'survived',
    fate,
    raisedMs: raised === undefined ? null : raised.at - begunAt,
    heldMs: heldAt === null ? null : heldAt - begunAt,
    leastSpare: last.least_available ?? Number.NaN,
    spareBefore: before.MemAvailable ?? Number.NaN,
    balloonBefore,
    rate: eaten / MiB / Math.max(0.001, (end - begunAt) / 1000),
    series: series.map(({ at, ...rest }) => ({ ms: Math.round(at - begunAt), ...rest })),
  };
}
