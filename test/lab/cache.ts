/**
 * Page cache is spare where nobody uses it, and only there: Debian guests that read a file of 1,000 MiB from a disk of 80 MiB/s, again and
 * again or once. Runs are kept in .lab/results.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { report, say } from './agent.js';
import { buildDebian, FILE_MIB, unableToBuild } from './debian.js';
import { nobodyHurt, type Reports } from './faults/verdicts.js';
import { add, DISK_MIB_PER_S, destroy, type Guest, type GuestSpec, type Lab, ready, remove } from './guests.js';
import type { Verdict } from './judge.js';
import { read, Virsh } from './observer.js';
import {
  type CacheRecording,
  type CacheSample,
  isCached,
  isSmaller,
  keepsPace,
  type Pass,
  parsePasses,
  readsLittle,
  shrinks,
  smallerAfter,
  WATCHED_S,
} from './passes.js';
import { coordinatorCommand, startCoordinator } from './scenario.js';
import { LAB, LabError, until } from './shell.js';
import type { Tap } from './tap.js';

const MiB = 1024;
const FROM_DISK_S = FILE_MIB / DISK_MIB_PER_S;
/** Passes out of the cache before the coordinator comes. */
const UNMANAGED_PASSES = 15;
const COLD = 700 * MiB;
const COLD_WITHIN_S = 200;
/** A cold guest that is small is watched for so much longer. */
const STAYS_S = 15;
const PROGRESS_S = 30;

export interface CacheTest {
  readonly name: string;
  readonly title: string;
  /** With --full only. */
  readonly slow?: true;
  readonly poolMiB: number;
  /** How often each guest reads the file; 0 = again and again. */
  readonly times: readonly number[];
  /** Whether all has been seen, so long after the coordinator began. */
  over(recording: CacheRecording, s: number): boolean;
  judge(recording: CacheRecording): Verdict[];
}

const judgeReader = (recording: CacheRecording): Verdict[] => [
  isCached(recording, 0, FROM_DISK_S),
  keepsPace(recording, 0, 1.2),
  readsLittle(recording, 0, 2.5 * 1024 * MiB),
];

export const CACHE_TESTS: readonly CacheTest[] = [
  {
    name: 'apart',
    title: 'one guest reads a file again and again, another one has read it once and idles; there is room for both',
    poolMiB: 8192,
    times: [0, 1],
    over: (_, s) => s >= WATCHED_S,
    judge: (recording) => [...judgeReader(recording), shrinks(recording, 1, COLD, COLD_WITHIN_S)],
  },
  {
    name: 'reader',
    title: 'a guest reads a file again and again, and nobody else wants memory',
    slow: true,
    poolMiB: 4096,
    times: [0],
    over: (_, s) => s >= WATCHED_S,
    judge: judgeReader,
  },
  {
    name: 'idle',
    title: 'a guest has read a file once and idles',
    slow: true,
    poolMiB: 4096,
    times: [1],
    over(recording, s) {
      const after = smallerAfter(recording, 0, COLD);
      return s >= COLD_WITHIN_S + STAYS_S || (after !== null && s >= after + STAYS_S);
    },
    judge: (recording) => [shrinks(recording, 0, COLD, COLD_WITHIN_S)],
  },
  {
    name: 'both',
    title: 'one guest reads a file again and again, another one has read it once; the pool cannot hold it twice',
    slow: true,
    poolMiB: 2048,
    times: [0, 1],
    over: (_, s) => s >= WATCHED_S,
    judge: (recording) => [isCached(recording, 0, FROM_DISK_S), keepsPace(recording, 0, 1.5), isSmaller(recording, 1, 0)],
  },
];

/** All of them for `cache`, else the one of that name, if any. */
export function cacheTests(test: string | undefined): CacheTest[] {
  return CACHE_TESTS.filter(({ name }) => test === 'cache' || test === name);
}

const specs = ({ times }: CacheTest): GuestSpec[] =>
  times.map((count, index) => ({
    name: `${count === 0 ? 'hot' : 'cold'}${index + 1}`,
    current: 2048,
    maximum: 2048,
    swap: 0,
    autodeflate: false,
    driver: true,
    debian: true,
  }));

async function reports(guests: readonly Guest[]): Promise<Reports> {
  return Object.fromEntries(await Promise.all(guests.map(async ({ name, socket }) => [name, await report(name, socket, 20_000)] as const)));
}

/** Carries out one test on guests that have booted. @throws LabError where it cannot be carried out. */
async function runCacheTest(
  test: CacheTest,
  guests: readonly Guest[],
  { uri, coordinator, tell, signal }: { uri: string; coordinator: string | undefined; tell: Tap['tell']; signal: AbortSignal },
): Promise<{ recording: CacheRecording; verdicts: Verdict[] }> {
  const names = guests.map(({ name }) => name);
  const startedAt = Date.now();
  const now = (): number => (Date.now() - startedAt) / 1000;
  const virsh = new Virsh(uri);
  const samples: CacheSample[] = [];
  const passes: Pass[][] = guests.map(() => []);
  const begunLater = Number.POSITIVE_INFINITY;
  let recording: CacheRecording = {
    name: test.name,
    pool: test.poolMiB * MiB,
    guests: names,
    unmanaged: begunLater,
    begun: begunLater,
    ended: begunLater,
    passes,
    samples,
    moves: [],
  };

  const sample = async (): Promise<void> => {
    const disks = await virsh.ask(names.map((name) => `domblkstat ${name} vda`));
    const bytes = disks.map((text) => Number(/ rd_bytes (\d+)/.exec(text)?.[1] ?? Number.NaN));
    samples.push({ ...(await read(virsh, names, now)), read: bytes.map((value) => value / 1024) });
    const answers = await Promise.all(
      guests.map(async ({ name, socket }, index) => await say(name, socket, `passes ${passes[index]?.length ?? 0}`, 20_000)),
    );
    for (const [index, answer] of answers.entries()) passes[index]?.push(...parsePasses(answer, now()));
  };
  /** Samples every second until `over`. */
  const watch = async (what: string, limitS: number, over: () => boolean): Promise<void> => {
    const sampled = async (): Promise<true | undefined> => {
      await sample();
      return over() ? true : undefined;
    };
    await until(what, limitS * 1000, 1000, sampled, signal);
  };

  let stop = async (): Promise<number | null> => null;
  try {
    await Promise.all(guests.map(async ({ name, socket }, index) => await say(name, socket, `read ${test.times[index]}`)));
    const wanted = test.times.map((times) => (times === 0 ? 1 + UNMANAGED_PASSES : times));
    await watch('the guests to have read the file', 240, () => wanted.every((count, index) => (passes[index]?.length ?? 0) >= count));
    recording = { ...recording, unmanaged: now() };
    tell(`unmanaged, passes took ${passes.map((of) => of.map(({ took }) => took.toFixed(1)).join(', ')).join(' s; ')} s`);
    const before = await reports(guests);
    await sample();

    const { child, exited, moves } = startCoordinator(coordinatorCommand(uri, recording.pool, coordinator), startedAt, () => undefined);
    stop = async () => {
      if (child.exitCode !== null || child.signalCode !== null) return null;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await exited;
      clearTimeout(timer);
      return child.exitCode;
    };
    recording = { ...recording, begun: now(), moves };
    let told = 0;
    await watch('the test to be over', 2 * WATCHED_S, () => {
      if (child.exitCode !== null) throw new LabError(`the coordinator ended by itself (exit code ${child.exitCode})`);
      const s = now() - recording.begun;
      if (s >= told + PROGRESS_S) {
        told += PROGRESS_S;
        tell(`after ${told} s: ${names.map((name, index) => `${name} ${progress(recording, index)}`).join('; ')}`);
      }
      return test.over(recording, s);
    });
    recording = { ...recording, ended: now() };
    const code = await stop();
    const hurt = nobodyHurt(before, await reports(guests), new Set());
    return {
      recording,
      verdicts: [...test.judge(recording), hurt, { name: 'memcoord ends in order', ok: code === 0, detail: `exit code ${code}` }],
    };
  } finally {
    await stop();
    virsh.end();
  }
}

/** Where a guest stands, for a person. */
function progress({ samples, passes, begun }: CacheRecording, guest: number): string {
  const size = `${Math.round((samples.at(-1)?.actual[guest] ?? Number.NaN) / MiB)} MiB`;
  const first = samples.findLast(({ t }) => t <= begun);
  const blocks = (samples.at(-1)?.read[guest] ?? Number.NaN) - (first?.read[guest] ?? Number.NaN);
  return `${size}, its last pass took ${passes[guest]?.at(-1)?.took.toFixed(1)} s, ${Math.round(blocks / MiB)} MiB from the disk`;
}

/**
 * Runs tests on guests of their own, alone on the host: those of the lab are ended before ({@link startEnded} starts them again).
 *
 * @param coordinator another one than memcoord to be judged: a shell's command line.
 */
export async function runCache(
  tests: readonly CacheTest[],
  lab: Lab,
  coordinator: string | undefined,
  { tell, result }: Tap,
  signal: AbortSignal,
): Promise<void> {
  if (tests.length === 0) return;
  const unable = unableToBuild();
  if (unable !== null) {
    for (const { name, title } of tests) result(true, `${name}: ${title}`, `SKIP ${unable}`);
    return;
  }
  const runOne = async (test: CacheTest): Promise<void> => {
    tell(`${test.name}: ${test.title}`);
    let guests: Guest[] = [];
    try {
      guests = await add(specs(test), signal);
      const booted = performance.now();
      await Promise.all(guests.map(async (guest) => await ready(guest, { signal })));
      tell(`booted in ${((performance.now() - booted) / 1000).toFixed(0)} s`);
      process.env.LAB_POOL_MIB = String(test.poolMiB);
      process.env.LAB_URI = lab.uri;
      const { recording, verdicts } = await runCacheTest(test, guests, { uri: lab.uri, coordinator, tell, signal });
      for (const { name, ok, detail } of verdicts) result(ok, `${test.name}: ${name}`, detail);
      const kept = { recording, verdicts, coordinator: coordinator ?? 'memcoord' };
      await writeFile(join(LAB, 'results', `cache-${test.name}.json`), JSON.stringify(kept));
    } catch (error) {
      if (signal.aborted) throw new LabError('interrupted');
      result(false, `${test.name}: is carried out`, error instanceof Error ? error.message : String(error));
    } finally {
      await remove(guests);
    }
  };
  await buildDebian(tell);
  await mkdir(join(LAB, 'results'), { recursive: true });
  await destroy(lab.guests);
  for (const test of tests) await runOne(test);
}
