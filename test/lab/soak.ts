/**
 * `npm run soak`: random work and random faults on real guests for as long as one likes, and a report of what was done and what held.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { say } from './agent.js';
import { daemonPid } from './daemon.js';
import { BLOWS, type Blow, type Soak } from './faults/blows.js';
import { eat, IDLE, pass } from './faults/harm.js';
import { type Random, randomFrom } from './faults/random.js';
import { coordinate, end, history, ownSurroundings, periods, putBack, reports, type Scene, START } from './faults/scene.js';
import { mib, nobodyHurt, periodsBack, staysInPool } from './faults/verdicts.js';
import { startWatch } from './faults/watch.js';
import { claim, down, type Guest, guestSpecs, readLab, up } from './guests.js';
import type { Verdict } from './judge.js';
import type { LoggedMove } from './recording.js';
import { LabError, sleep } from './shell.js';

const USAGE = `usage: npm run soak -- [--minutes N] [--seed N]

Deals out random work and random faults to four real guests under memcoord for so many minutes (10), and reports what held.
--seed repeats the work and the faults of an earlier soak, though not their timing to the millisecond.`;

const MiB = 1024;
/** Holds four guests at work, and a fifth that boots at its maximum: whoever is killed here was not killed for want of room. */
const POOL = 5120 * MiB;
/** Most that a guest is told to hold, MiB, and how fast it is told to eat, MiB/s: an idle one's spare outlasts every outage dealt out here. */
const MOST = 380;
const RATES = [1, 6] as const;
/** The floor of the guests by default, KiB. */
const FLOOR = 256 * MiB;
/** A guest that was just started or rebooted gives nothing for so long, s: memcoord's default. */
const BOOT_REST_S = 120;
/** What a coordinator of four guests may hold, KiB: bench/memory.ts sees 115 MiB after 10,000 cycles of a hundred. */
const MOST_RSS = 180 * MiB;

interface Dealt {
  readonly t: number;
  readonly name: string;
  readonly what: string;
}

async function rss(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
}

/** Has one guest eat and free at random until told otherwise. One that is stopped, paused or gone does not hear it. */
async function work(guest: Guest, random: Random, goesOn: () => boolean, count: { orders: number }): Promise<void> {
  while (goesOn()) {
    const order =
      random.whole(0, 3) === 0 ? say(guest.name, guest.socket, 'free') : eat(guest, random.whole(20, MOST), random.between(...RATES));
    await order.then(() => count.orders++).catch(() => undefined);
    for (let left = random.between(2, 20); left > 0 && goesOn(); left--) await sleep(Math.min(left, 1) * 1000);
  }
}

/** Faults one after another until the time is over. One that cannot be carried out ends the soak. */
async function deal(soak: Soak, blows: readonly [Blow, ...Blow[]], until: number, tell: (dealt: Dealt) => void): Promise<void> {
  while (soak.now() < until) {
    await pass(soak, soak.random.between(2, 8));
    const blow = soak.random.pick(blows);
    const guest = soak.random.pick(soak.guests);
    const t = soak.now();
    const what = await blow.strike(soak, guest);
    tell({ t, name: blow.name, what: `${blow.daemon === true || /coordinator|come/.test(blow.name) ? '' : `${guest.name}: `}${what}` });
    if (soak.run.child.exitCode !== null) throw new LabError(`memcoord ended by itself, with code ${soak.run.child.exitCode}`);
  }
}

/** All have freed: no balloon moves for 6 s, and all have the size of an idle one. @returns how long that took, s; NaN = it did not come. */
async function rest({ watch, guests, now, signal }: Scene): Promise<number> {
  const from = now();
  while (now() - from < 90) {
    await pass({ signal }, 0.5);
    const last = watch.readings.filter(({ t }) => t >= now() - 6 && t >= from);
    const still = guests.every(({ name }) => {
      const sizes = last.flatMap(({ actual }) => actual[name] ?? []);
      return sizes.length >= 12 && Math.max(...sizes) - Math.min(...sizes) <= MiB && Math.max(...sizes) <= IDLE;
    });
    if (still) return now() - from;
  }
  return Number.NaN;
}

function withinBounds(moves: readonly LoggedMove[], maximum: number): Verdict {
  const targets = moves.map(({ to }) => to);
  return {
    name: 'targets stay within floor and maximum',
    ok: moves.length > 0 && targets.every((to) => to >= FLOOR && to <= maximum),
    detail: `${moves.length} targets from ${mib(Math.min(...targets))} to ${mib(Math.max(...targets))}`,
  };
}

async function soakFor(minutes: number, seed: number, signal: AbortSignal): Promise<boolean> {
  const tell = (line: string): void => console.log(line);
  const ours = (await readLab()) === null;
  const lab = await up(guestSpecs(), tell, signal);
  const guests = lab.guests.slice(0, 4) as unknown as Soak['guests'];
  const broken: string[] = [];
  const dealt: Dealt[] = [];
  try {
    await putBack(guests, START, signal);
    const before = await periods(guests);
    const startedAt = performance.now();
    const now = (): number => (performance.now() - startedAt) / 1000;
    const extra: Guest[] = [];
    const watch = startWatch(lab.uri, () => [...guests, ...extra].map(({ name }) => name), now);
    const stage = {
      uri: lab.uri,
      pool: POOL,
      guests,
      extra,
      watch,
      now,
      tell,
      signal,
      gone: new Set<string>(),
      come: [],
      last: [],
      excluded: [],
    };
    const scene = { ...stage, undo: [] as Scene['undo'][number][] };
    const soak: Soak = {
      ...scene,
      run: await coordinate(scene),
      random: randomFrom(seed),
      baseline: await reports(guests),
      restarted: new Set(),
      admitted: [],
      async check() {
        const found = await reports(guests);
        const verdict = nobodyHurt(soak.baseline, found, new Set());
        if (!verdict.ok) broken.push(`${now().toFixed(0)} s: ${verdict.detail}`);
        soak.baseline = { ...soak.baseline, ...found };
      },
    };
    const runs = new Set([soak.run]);
    let mostRss = 0;
    let working = true;
    const count = { orders: 0 };
    const watchRss = (async () => {
      while (working) {
        runs.add(soak.run);
        mostRss = Math.max(mostRss, (await rss(soak.run.child.pid)) || 0);
        await sleep(1000);
      }
    })();
    const workers = guests.map(async (guest, index) => await work(guest, randomFrom(seed + index + 1), () => working, count));
    const ownDaemon = (await daemonPid()) !== null;
    const blows = BLOWS.filter(({ daemon }) => daemon !== true || ownDaemon) as unknown as readonly [Blow, ...Blow[]];
    let code: number | null = null;
    let rested = Number.NaN;
    let failure = '';
    try {
      await deal(soak, blows, minutes * 60, (blow) => {
        dealt.push(blow);
        tell(`${blow.t.toFixed(0)} s  ${blow.name}  ${blow.what}`);
      });
      await soak.check();
      working = false;
      await Promise.all(workers);
      await Promise.all(guests.map(async (guest) => await say(guest.name, guest.socket, 'free')));
      await pass(soak, BOOT_REST_S);
      rested = await rest(soak);
      await soak.check();
    } catch (error) {
      if (signal.aborted) throw new LabError('interrupted');
      failure = error instanceof Error ? error.message : String(error);
    } finally {
      working = false;
      for (let step = soak.undo.pop(); step !== undefined; step = soak.undo.pop()) await step().catch(() => undefined);
      await Promise.all(workers);
      await watchRss;
      runs.add(soak.run);
      code = await end(soak.run);
      await watch.end();
    }
    const expected = Object.fromEntries(Object.entries(before).map(([name, period]) => [name, soak.restarted.has(name) ? 0 : period]));
    const moves = [...runs].flatMap((run) => run.moves);
    const verdicts: Verdict[] = [
      { name: 'every fault was dealt out and undone', ok: failure === '', detail: failure === '' ? `${dealt.length}` : failure },
      {
        name: 'nothing is killed in any guest',
        ok: broken.length === 0,
        detail: broken.length === 0 ? `${count.orders} orders to eat or free` : broken.join('; '),
      },
      // Any of them may be booting, and the fifth without a driver.
      staysInPool(watch.readings, POOL, { uncontrolled: [...guests.map(({ name }) => name), 'aos_vm5'] }),
      withinBounds(moves, (guests[0]?.maximum ?? 0) * MiB),
      { name: 'at rest once all have freed', ok: rested >= 0, detail: `after ${rested.toFixed(0)} s` },
      periodsBack(expected, await periods(guests)),
      { name: 'memcoord is alive, and ends in order', ok: code === 0, detail: `exit code ${code}; ${runs.size} started in all` },
      // The sanitizers keep what is freed.
      ...(process.env.LAB_COORDINATOR_ENV === undefined
        ? [{ name: `memcoord holds no more than ${mib(MOST_RSS)}`, ok: mostRss <= MOST_RSS, detail: `most ${mib(mostRss)}` }]
        : []),
      { name: 'a second memcoord is always refused', ok: soak.admitted.length === 0, detail: soak.admitted.join() || 'exit code 4' },
    ];
    for (const line of summary(minutes, seed, dealt, verdicts)) tell(line);
    if (verdicts.some(({ ok }) => !ok)) for (const run of runs) for (const line of history(run)) tell(line);
    return verdicts.every(({ ok }) => ok);
  } finally {
    if (ours) await down(tell);
    else await putBack(guests, (guests[0]?.current ?? 0) * MiB, signal);
  }
}

function summary(minutes: number, seed: number, dealt: readonly Dealt[], verdicts: readonly Verdict[]): string[] {
  const counts = new Map<string, number>();
  for (const { name } of dealt) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [
    `Soak of ${minutes} minutes, seed ${seed}, ended ${new Date().toISOString().slice(0, 16)}Z`,
    `Faults injected: ${dealt.length}`,
    ...[...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, times]) => `  ${name.padEnd(20)} ${times}`),
    'Invariants:',
    ...verdicts.map(({ name, ok, detail }) => `  ${ok ? 'held  ' : 'BROKEN'}  ${name} (${detail})`),
  ];
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: { minutes: { type: 'string' }, seed: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  const minutes = Number(values.minutes ?? 10);
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  if (values.help === true || !(minutes > 0) || !Number.isInteger(seed)) throw new LabError(USAGE);
  console.log(`seed ${seed}`);
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  await claim();
  ownSurroundings();
  return await soakFor(minutes, seed, controller.signal);
}

main().then(
  (held) => {
    process.exitCode = held ? 0 : 1;
  },
  (error: unknown) => {
    console.error(error instanceof LabError ? error.message : error);
    process.exitCode = 1;
  },
);
