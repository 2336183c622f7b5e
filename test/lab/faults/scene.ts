/** What a fault is played on: the lab's guests in their first state, a memcoord that coordinates them, and an observer of both. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { machineTime } from '../../../lib/common/time.js';
import { READ, READ_AT, STATUS, STRIDE } from '../../../lib/sweep.js';
import { report, say } from '../agent.js';
import { virsh } from '../daemon.js';
import { add, balloon, type Guest, type GuestSpec, guestSpecs, type Lab, ready, remove, running, start } from '../guests.js';
import type { Verdict } from '../judge.js';
import { type Coordinator, coordinatorCommand, startCoordinator } from '../scenario.js';
import { LabError, RUN, until } from '../shell.js';
import { mib, nobodyHurt, periodsBack, type Reports, type RoomSample, staysInPool, type Told } from './verdicts.js';
import { EVERY_S, startWatch, type Watch } from './watch.js';

const MiB = 1024;
/** Balloon size of the guests when a fault's play begins, KiB: about what memcoord leaves an idle one, so that it is at rest at once. */
export const START = 320 * MiB;
/** What the first guest's stats period is before memcoord comes, seconds; those of the others are off. */
const PERIOD = 7;
/** Where memcoord keeps what outlives it. */
const STATE = join(RUN, 'state');
/** Where the first memcoord of a play records its samples. */
const RECORDING = join(RUN, 'samples.jsonl');
/** Two of memcoord's intervals, s. */
export const TWO_INTERVALS_S = 2;
/** As long as any guest may wait for what it needs, and what the observer's own grain adds, s. */
export const PAUSE_S = TWO_INTERVALS_S + EVERY_S;

/** A memcoord that runs. */
export interface Run extends Coordinator {
  readonly told: Told[];
}

export interface Scene {
  readonly uri: string;
  /** KiB. */
  readonly pool: number;
  /** The four that are always there; a fault is mostly the first one's. */
  readonly guests: readonly [Guest, Guest, Guest, Guest];
  /** Those of the fault's own, in the order of its `extra`. */
  readonly extra: readonly Guest[];
  readonly watch: Watch;
  /** Seconds since the play began. */
  now(): number;
  readonly tell: (line: string) => void;
  readonly signal: AbortSignal;
  /** The coordinator. Another one may take its place. */
  run: Run;
  /** What must be undone however the play ends; last first, and once only. */
  readonly undo: (() => Promise<unknown>)[];
  /** The same, but once memcoord has ended and the guests have said how they fared. */
  readonly last: (() => Promise<unknown>)[];
  /** Guests that the play itself has ended. */
  readonly gone: Set<string>;
  /** Guests that the play itself has started: they are watched too. */
  readonly come: Guest[];
  /** Names of guests that memcoord is told to leave alone. */
  readonly excluded: readonly string[];
}

export interface Fault {
  /** For `--fault`. */
  readonly name: string;
  /** What happens. */
  readonly title: string;
  /** Takes long waits or many guests: with --full only. */
  readonly slow?: boolean;
  /** Is done to libvirtd: needs one that the lab has started itself. */
  readonly daemon?: boolean;
  readonly poolMiB: number;
  /** Guests that it needs beside the four. */
  readonly extra?: readonly GuestSpec[];
  /** Names of guests that memcoord is told to leave alone. */
  readonly excluded?: readonly string[];
  /** Names of guests that memcoord does not control, or not all the time: they count with what they hold. */
  readonly uncontrolled?: readonly string[];
  /** More options of `memcoord run`. */
  readonly options?: readonly string[];
  /** @returns why it cannot be played on this machine; null where it can. */
  unable?(): Promise<string | null>;
  /** Carried out before memcoord comes. */
  prepare?(scene: Omit<Scene, 'run'>): Promise<void>;
  play(scene: Scene): Promise<Verdict[]>;
}

/** A guest beside the four. */
export const fifth = (kind: Partial<GuestSpec> = {}): GuestSpec => ({
  ...(guestSpecs({ count: 5, swap: [] })[4] as GuestSpec),
  current: START / MiB,
  ...kind,
});

/** Kept out of the machine's own: memcoord's state, and a daemon with other settings that libvirt would start for a user. */
export function ownSurroundings(): void {
  process.env.RUNTIME_DIRECTORY = process.env.STATE_DIRECTORY = STATE;
  process.env.LIBVIRT_AUTOSTART = '0';
}

/** Puts the four into the state that they have when the lab comes up, with balloons of `size` KiB; those that have ended are started. */
export async function putBack(guests: readonly Guest[], size: number, signal: AbortSignal): Promise<void> {
  const names = await running();
  await Promise.all(
    guests.map(async (guest, index) => {
      if (!names.has(guest.name)) {
        await start(guest);
        await ready(guest, { signal });
      } else if ((await virsh('domstate', guest.name)).includes('paused')) await virsh('resume', guest.name);
      await say(guest.name, guest.socket, 'free');
      await say(guest.name, guest.socket, 'tmpfs 0');
      await virsh('setmem', guest.name, String(size), '--live');
      const period = size === START && index === 0 ? PERIOD : 0;
      await virsh('dommemstat', guest.name, '--period', String(period), '--live');
      const there = async () => ((await balloon(guest.name)) === size ? true : undefined);
      await until(`${guest.name} to be at ${size / MiB} MiB`, 30_000, 100, there, signal);
    }),
  );
}

/** Starts a memcoord, and waits until it has the figures of all guests with a driver, and believes them. */
export async function coordinate(scene: Omit<Scene, 'run'>, more: readonly string[] = []): Promise<Run> {
  const run = launch(scene, more);
  const updates = async (): Promise<(string | undefined)[]> =>
    await Promise.all(
      [...scene.guests, ...scene.extra]
        .filter(({ driver, name }) => driver && !scene.excluded.includes(name))
        .map(async ({ name }) => /^last_update (\d+)$/m.exec(await virsh('dommemstat', name))?.[1]),
    );
  try {
    const first = await updates();
    const fresh = async (): Promise<true | undefined> => {
      if (run.child.exitCode !== null) throw new LabError(`memcoord ended with code ${run.child.exitCode}`);
      return (await updates()).every((update, index) => update !== first[index]) ? true : undefined;
    };
    await until('the guests to report to memcoord', 30_000, 300, fresh, scene.signal);
    // Two samples are believed (rule 12).
    await until('memcoord to have believed two samples', 5000, 100, waits(scene, 2.5), scene.signal);
  } catch (error) {
    await end(run);
    throw error;
  }
  return run;
}

/** True once so many seconds have passed. */
export function waits(scene: Pick<Scene, 'now'>, s: number): () => Promise<true | undefined> {
  const end = scene.now() + s;
  return async () => (scene.now() >= end ? true : undefined);
}

/** A memcoord that nobody waits for. */
export function launch(
  { uri, pool, excluded, now, tell }: Pick<Scene, 'uri' | 'pool' | 'excluded' | 'now' | 'tell'>,
  more: readonly string[] = [],
): Run {
  const told: Told[] = [];
  const listen = (line: string): void => {
    try {
      const { kind = '', guest = '', msg = '' } = JSON.parse(line) as Record<string, unknown>;
      told.push({ t: now(), kind: String(kind), guest: String(guest), message: String(msg) });
    } catch {
      tell(line);
    }
  };
  const left = excluded.flatMap((name) => ['--exclude', name]);
  const run = startCoordinator([...coordinatorCommand(uri, pool, undefined), ...left, ...more], Date.now() - now() * 1000, listen);
  return { ...run, told };
}

/** What is asked of a sample that memcoord has recorded. */
interface RecordedLine extends Pick<RoomSample, 'host' | 'moves'> {
  /** CLOCK_MONOTONIC, ms. */
  readonly at: number;
  readonly guests: readonly { readonly name: string }[];
  readonly figures: readonly number[];
}

/** What the first memcoord of the play has recorded so far. */
async function recorded(): Promise<RecordedLine[]> {
  // The last line may be under way, and the first is a header.
  const lines = (await readFile(RECORDING, 'utf8')).split('\n').slice(1, -1);
  return lines.map((line) => JSON.parse(line) as RecordedLine);
}

/** The scene's clock less {@link machineTime}, s. */
const offset = ({ now }: Pick<Scene, 'now'>): number => now() - machineTime.now() / 1000;

/** The host as the first memcoord of the play has read it so far, and what it did then. */
export async function roomSamples(scene: Pick<Scene, 'now'>): Promise<RoomSample[]> {
  const begun = offset(scene);
  return (await recorded()).map(({ at, host, moves }) => ({ t: at / 1000 + begun, host, moves }));
}

/** When the first memcoord of the play has read each guest so far, s on the scene's clock, by its name. */
export async function readTimes(scene: Pick<Scene, 'now'>): Promise<ReadonlyMap<string, readonly number[]>> {
  const begun = offset(scene);
  const times = new Map<string, number[]>();
  for (const { guests, figures } of await recorded()) {
    for (const [row, { name }] of guests.entries()) {
      if (figures[row * STRIDE + STATUS] !== READ) continue;
      times.set(name, [...(times.get(name) ?? []), (figures[row * STRIDE + READ_AT] ?? Number.NaN) / 1000 + begun]);
    }
  }
  return times;
}

/** All that a memcoord has told, for whoever looks into a failure. */
export function history({ told, moves }: Run): string[] {
  const lines = [
    ...told.map(({ t, message }) => ({ t, text: message })),
    ...moves.map(({ t, guest, from, to, spare, reason }) => ({
      t,
      text: `${guest} ${mib(from)} → ${mib(to)}, ${reason}, spare ${mib(spare)}`,
    })),
  ];
  return lines.sort((a, b) => a.t - b.t).map(({ t, text }) => `${t.toFixed(2)} s: ${text}`);
}

/** Stops a memcoord in order. @returns its exit code; null where it had to be killed, or was before. */
export async function end({ child, exited }: Run): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  const code = await exited;
  clearTimeout(timer);
  return code;
}

export async function reports(guests: readonly Guest[]): Promise<Reports> {
  const answers = await Promise.all(
    guests.map(async ({ name, socket }) => [name, await report(name, socket, 20_000).catch(() => null)] as const),
  );
  return Object.fromEntries(answers.flatMap(([name, figures]) => (figures === null ? [] : [[name, figures]])));
}

/** Stats periods of the running ones among the guests, seconds. */
export async function periods(guests: readonly Guest[]): Promise<Readonly<Record<string, number>>> {
  const names = await running();
  const there = guests.filter(({ name }) => names.has(name));
  const read = async ({ name }: Guest) => [name, Number(/<stats period='(\d+)'/.exec(await virsh('dumpxml', name))?.[1] ?? 0)] as const;
  return Object.fromEntries(await Promise.all(there.map(read)));
}

/**
 * Plays one fault from the first state to the last word: what it shows itself, and what must hold after each.
 *
 * @throws LabError where it could not be carried out. Whatever was done is undone.
 */
export async function play(fault: Fault, lab: Lab, tell: (line: string) => void, signal: AbortSignal): Promise<Verdict[]> {
  const guests = lab.guests.slice(0, 4) as unknown as Scene['guests'];
  await putBack(guests, START, signal);
  // What the memcoord of the play before remembers is no longer so.
  await rm(STATE, { recursive: true, force: true });
  const extra = await add(fault.extra ?? [], signal);
  const startedAt = performance.now();
  const now = (): number => (performance.now() - startedAt) / 1000;
  const all = [...guests, ...extra];
  const gone = new Set<string>();
  const come: Guest[] = [];
  const watch = startWatch(lab.uri, () => [...all, ...come].map(({ name }) => name), now);
  const stage = {
    uri: lab.uri,
    pool: fault.poolMiB * MiB,
    guests,
    extra,
    watch,
    now,
    tell,
    signal,
    undo: [] as Scene['undo'][number][],
    last: [] as Scene['last'][number][],
    excluded: fault.excluded ?? [],
    gone,
    come,
  } satisfies Omit<Scene, 'run'>;
  let scene: Scene | null = null;
  try {
    await Promise.all(extra.map(async (guest) => await ready(guest, { signal })));
    await fault.prepare?.(stage);
    const before = await reports(all);
    const begun = now();
    scene = { ...stage, run: await coordinate(stage, ['--record', RECORDING, ...(fault.options ?? [])]) };
    const verdicts = await fault.play(scene);
    await undoAll(scene.undo, tell);
    const code = await end(scene.run);
    verdicts.push({ name: 'memcoord ends in order', ok: code === 0, detail: `exit code ${code}` });
    verdicts.push(periodsBack({ [guests[0].name]: PERIOD }, await periods(all)));
    verdicts.push(nobodyHurt(before, await reports(all), gone));
    verdicts.push(staysInPool(watch.readings, stage.pool, { from: begun, uncontrolled: fault.uncontrolled ?? [] }));
    if (verdicts.some(({ ok }) => !ok)) for (const line of history(scene.run)) tell(line);
    return verdicts;
  } catch (error) {
    if (scene !== null && !signal.aborted) for (const line of history(scene.run)) tell(line);
    throw error;
  } finally {
    await undoAll(stage.undo, tell);
    if (scene !== null) await end(scene.run);
    await rm(RECORDING, { force: true });
    await watch.end();
    await undoAll(stage.last, tell);
    await remove(extra);
  }
}

async function undoAll(steps: Scene['undo'], tell: Scene['tell']): Promise<void> {
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    await step().catch((error: unknown) => tell(String(error)));
  }
}
