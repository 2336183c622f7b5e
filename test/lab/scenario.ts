/**
 * Carries out one classic test on the lab's guests, with a coordinator running, and writes down what happens.
 *
 * A stage in which guests eat is over when the first of its eaters ends, because it was killed or could not allocate: what "all eat"
 * or "3 and 4 go on" asks for no longer holds then. The next stage's order, that all free, is given to the others at once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { report, say } from './agent.js';
import type { Guest, Lab } from './guests.js';
import { read, type Virsh } from './observer.js';
import type { GuestReport, LoggedMove, Recording, Sample, Stage } from './recording.js';
import { LabError, ROOT, sleep, until } from './shell.js';

const MiB = 1024;
/** What the course's runner sets every guest to when a test begins. */
const START = 512 * MiB;
/** What the guests eat a second; the course's eaters do some 16 to 20 MiB/s. */
const RATE = 18;
/** Balloon figures come once a second and the observer samples once a second: a free shows in the series within 3 s. */
const SETTLED_S = 3;
/**
 * What the pool gives a guest beside its eater when all pause: 97 MiB that are not free in an idle one, 69 MiB of what is free that are
 * not usable (README.md, figures of an idle guest), some 35 MiB for the eater's overhead, and 65 MiB that leave it hungry, but above
 * the 48 MiB below which the policy holds a guest to be in danger.
 */
const HUNGRY = (97 + 69 + 35 + 65) * MiB;
/** How long the eaters pause for the plateau: 15 s, and one more for the observer's last sample. */
const PLATEAU_S = 16;
/** A move that the coordinator had under way can land after ours: then the guest is set once more, s. Before it may be shrunk again (5 intervals). */
const SET_AGAIN_S = 2;
/** An eater takes 114 s to fill the 2 GiB of a guest, and longer where it has to wait for memory; then something is wrong. */
const EATING_LIMIT_S = 200;

export interface Coordinator {
  readonly child: ChildProcess;
  readonly moves: LoggedMove[];
  readonly exited: Promise<number | null>;
}

/**
 * Command that coordinates the guests, as arguments; `custom` is a shell's command line, for a coordinator other than ours. Ours gets the
 * variables in LAB_COORDINATOR_ENV, `NAME=VALUE` one a line: `scripts/sanitize --soak` has it load the sanitizers.
 */
export function coordinatorCommand(uri: string, pool: number, custom: string | undefined): string[] {
  if (custom !== undefined) return ['sh', '-c', `exec ${custom}`];
  const size = `${pool / MiB}MiB`;
  const { LAB_COORDINATOR_ENV: variables } = process.env;
  const command = [
    process.execPath,
    'dist/cli/main.js',
    'run',
    '--connect',
    uri,
    '--interval',
    '1',
    '--pool',
    size,
    '--log-format',
    'json',
  ];
  return variables === undefined ? command : ['env', ...variables.split('\n'), ...command];
}

/** Starts a coordinator and collects the moves that it logs as JSON lines on stderr. `tell` gets every other line. */
export function startCoordinator(command: readonly string[], startedAt: number, tell: (line: string) => void): Coordinator {
  // Detached: Ctrl-C is for us, who then stop it in order.
  const child = spawn(command[0] ?? '', command.slice(1), { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const moves: LoggedMove[] = [];
  const exited = new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null));
    child.on('exit', (code) => resolve(code));
  });
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const entry = parseMove(line, startedAt);
      if (entry === null) tell(line);
      else moves.push(entry);
    });
  }
  return { child, moves, exited };
}

/** @returns the move that a line of the log tells of, or null. */
export function parseMove(line: string, startedAt: number): LoggedMove | null {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
  if (entry?.msg !== 'move') return null;
  // A move that libvirt refused took nothing from anybody.
  if (entry.applied === false) return null;
  const time = typeof entry.time === 'number' ? entry.time : Date.parse(String(entry.time));
  return {
    t: ((Number.isNaN(time) ? Date.now() : time) - startedAt) / 1000,
    guest: String(entry.guest),
    from: Number(entry.from),
    to: Number(entry.to),
    actual: Number(entry.actual),
    spare: Number(entry.spare),
    reason: String(entry.reason),
  };
}

/** How long ago an eater ended, s, by its guest's report; null = it eats. */
export function endedAgo({ eating, failed, killed_ms_ago: killed, ended_ms_ago: ended }: Readonly<Record<string, number>>): number | null {
  if (killed !== undefined && killed >= 0) return killed / 1000;
  if (failed === 1) return 0;
  return eating === 0 ? (ended ?? 0) / 1000 : null;
}

export interface ScenarioOptions {
  readonly test: 1 | 2 | 3;
  /** KiB. */
  readonly pool: number;
  readonly coordinator?: string | undefined;
  readonly virsh: Virsh;
  /** Gets lines for a person, about progress. */
  readonly tell: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Runs one test. @throws LabError where it cannot be carried out; a test that is carried out but comes out badly is a recording like any other. */
export async function runScenario(lab: Lab, options: ScenarioOptions): Promise<Recording> {
  const { test, pool, virsh, tell, signal } = options;
  const guests = lab.guests;
  const names = guests.map((guest) => guest.name);
  const maximum = (guests[0]?.maximum ?? 0) * MiB;
  const startedAt = Date.now();
  const now = (): number => (Date.now() - startedAt) / 1000;
  const samples: Sample[] = [];
  const ended: (number | null)[] = guests.map(() => null);
  const eating = new Set<number>();
  const stages: Stage[] = [];
  let plateau: Recording['plateau'] = null;

  await Promise.all(guests.map(async (guest) => await say(guest.name, guest.socket, 'free')));
  const coordinator = startCoordinator(coordinatorCommand(lab.uri, pool, options.coordinator), startedAt, tell);
  let gone = false;
  coordinator.exited.then(() => {
    gone = true;
  });
  let watching = true;
  const check = (): void => {
    if (signal.aborted) throw new LabError('interrupted');
    if (gone && watching) throw new LabError(`the coordinator ended by itself (exit code ${coordinator.child.exitCode})`);
  };

  /** Reads every second, on the second. */
  const watch = (async (): Promise<void> => {
    while (watching) {
      samples.push(await read(virsh, names, now));
      await sleep(1000 - ((Date.now() - startedAt) % 1000));
    }
  })();
  /**
   * Asks an eater's guest whether it still eats. It ends when it is killed: its memory is free, and given to others, seconds before the
   * guest has done with it.
   */
  const ask = async (guest: Guest, index: number, timeoutMs: number): Promise<void> => {
    const figures = await report(guest.name, guest.socket, timeoutMs).catch(() => null);
    const end = figures === null ? null : endedAgo(figures);
    if (figures === null || end === null || !eating.delete(index)) return;
    ended[index] = now() - end;
    if (figures.eating !== 0) await say(guest.name, guest.socket, 'free');
    tell(`${guest.name}'s eater ended with ${Math.round((figures.eaten || figures.last_eaten || 0) / MiB)} MiB`);
  };
  /** Asks every second. A guest out of memory may be slow to answer. */
  const follow = async (guest: Guest, index: number): Promise<void> => {
    while (watching && eating.has(index)) {
      await ask(guest, index, 5000);
      await sleep(1000);
    }
  };
  /** Another may have ended before the first that was heard of. */
  const askAll = async (): Promise<void> => {
    await Promise.all(guests.map(async (guest, index) => (eating.has(index) ? await ask(guest, index, 1000) : undefined)));
  };
  const followers: Promise<void>[] = [];
  const eat = async (index: number, amount: number): Promise<void> => {
    const guest = guests[index];
    if (guest === undefined) throw new LabError(`there is no guest ${index + 1}`);
    await say(guest.name, guest.socket, `eat ${amount} ${RATE}`);
    if (eating.has(index)) return;
    eating.add(index);
    followers.push(follow(guest, index));
  };
  const free = async (index: number): Promise<void> => {
    const guest = guests[index];
    if (guest === undefined || !eating.has(index)) return;
    eating.delete(index);
    await say(guest.name, guest.socket, 'free');
    ended[index] = now();
  };
  const reports = async (): Promise<GuestReport[]> =>
    await Promise.all(
      guests.map(async (guest) => {
        const figures = await report(guest.name, guest.socket, 20_000);
        return { oomKills: figures.oom_kills ?? Number.NaN, bystander: figures.bystander === 1 };
      }),
    );
  const waitFor = async (limitS: number, done: () => boolean): Promise<void> => {
    const end = now() + limitS;
    while (!done() && now() < end) {
      check();
      await sleep(200);
    }
  };
  const stage = async (
    name: string,
    from: number,
    to: number,
    idle: readonly number[],
    before: readonly GuestReport[],
  ): Promise<GuestReport[]> => {
    const after = await reports();
    stages.push({ name, from, to, idle, before, after });
    return after;
  };
  /** When the first of these eaters ended by itself; now, if none has. */
  const firstEnd = (eaters: readonly number[]): number => Math.min(now(), ...eaters.flatMap((index) => ended[index] ?? []));
  const all = guests.map((_, index) => index);
  const others = all.slice(1);
  /** All eat until each holds `amount` KiB, and pause there. */
  const eatAndHold = async (amount: number): Promise<void> => {
    await Promise.all(all.map(async (index) => await eat(index, Math.floor(amount / MiB))));
    const held = async (): Promise<boolean> => {
      const figures = await Promise.all(guests.map(async (guest) => await report(guest.name, guest.socket).catch(() => null)));
      return figures.every((figure) => (figure?.eaten ?? 0) >= Math.floor(amount / MiB) * MiB);
    };
    await until('all eaters to hold what they were told to', 150_000, 500, async () => {
      check();
      return (await held()) ? true : undefined;
    });
    const from = now();
    tell('they pause for 15 s');
    await waitFor(PLATEAU_S, () => false);
    plateau = { from, to: now() };
  };

  try {
    // The coordinator turns the guests' figures on; until then they are those of the boot, or of the last test.
    const updates = async (): Promise<string> =>
      (await virsh.ask(names.map((name) => `dommemstat ${name}`))).map((text) => /^last_update (\d+)$/m.exec(text)?.[1]).join();
    const first = (await updates()).split(',');
    await until('the guests to report to the coordinator', 30_000, 500, async () => {
      check();
      return (await updates()).split(',').every((update, index) => update !== first[index]) ? true : undefined;
    });
    await waitFor(3, () => false);

    tell('setting all guests to 512 MiB behind the coordinator’s back');
    const set = async (some: readonly string[]) => await virsh.ask(some.map((name) => `setmem ${name} ${START}`));
    await set(names);
    let again = now() + SET_AGAIN_S;
    await until('all guests to be at 512 MiB', 20_000, 200, async () => {
      check();
      const last = samples.at(-1);
      const away = names.filter((_, index) => !(Math.abs((last?.actual[index] ?? Number.NaN) - START) <= 16 * MiB));
      if (away.length === 0) return true;
      if (now() >= again) {
        tell(`once more, since it is not at 512 MiB: ${away.join(', ')}`);
        await set(away);
        again = now() + SET_AGAIN_S;
      }
      return undefined;
    });
    const begun = samples.at(-1)?.t ?? now();
    let before = await reports();

    if (test === 1 || test === 2) {
      const eaters = test === 1 ? [0] : all;
      tell(test === 1 ? 'guest 1 eats until it is out of memory' : 'all eat until they are out of memory');
      // Where the pool cannot hold all maxima: a pause when it is given out and nobody has enough.
      if (test === 2 && pool < all.length * maximum) await eatAndHold(pool / all.length - HUNGRY);
      await Promise.all(eaters.map(async (index) => await eat(index, 0)));
      await waitFor(EATING_LIMIT_S, () => eating.size < eaters.length);
      await askAll();
      const over = firstEnd(eaters);
      tell(eating.size === eaters.length ? 'no eater comes to an end: all are told to free' : 'all free');
      await Promise.all([...eating].map(free));
      before = await stage('eating', begun, over, test === 1 ? others : [], before);
      const freed = now();
      const settled = Math.max(...ended.filter((at) => at !== null)) + SETTLED_S;
      // Long enough to see them come back and stay there.
      const back = (): boolean => eaters.every((index) => (samples.at(-1)?.actual[index] ?? Infinity) < 700 * MiB);
      await waitFor(62, back);
      await waitFor(Math.max(15, freed + 30 - now()), () => false);
      await stage('freed', settled, now(), all, before);
    } else {
      tell('all eat 400 MiB');
      await eatAndHold(400 * MiB);
      before = await stage('all eat', begun, now(), [], before);
      tell('guests 1 and 2 free, guests 3 and 4 go on');
      await Promise.all([free(0), free(1), eat(2, 0), eat(3, 0)]);
      const freed = now();
      await waitFor(61, () => eating.size < 2);
      await askAll();
      await stage('1 and 2 freed, 3 and 4 eat', freed + SETTLED_S, firstEnd([2, 3]), [0, 1], before);
      await Promise.all([...eating].map(free));
    }
  } finally {
    watching = false;
    await watch;
    eating.clear();
    await Promise.all(followers);
    await Promise.all(guests.map(async (guest) => await say(guest.name, guest.socket, 'free').catch(() => undefined)));
    if (!gone) coordinator.child.kill('SIGTERM');
    const timer = setTimeout(() => coordinator.child.kill('SIGKILL'), 15_000);
    await coordinator.exited;
    clearTimeout(timer);
  }
  return {
    test,
    pool,
    maximum,
    guests: names,
    samples,
    moves: options.coordinator !== undefined && coordinator.moves.length === 0 ? null : coordinator.moves,
    stages,
    ended,
    plateau,
    exitCode: await coordinator.exited,
  };
}
