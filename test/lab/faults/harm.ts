/** What is done to guests and daemons, each with the way back; and what guests are told meanwhile. */
import { report, say } from '../agent.js';
import { daemonPid, startDaemon } from '../daemon.js';
import type { Guest } from '../guests.js';
import type { Verdict } from '../judge.js';
import { qemusOf } from '../processes.js';
import { LabError, sleep, until } from '../shell.js';
import type { Scene } from './scene.js';
import { mib, seconds } from './verdicts.js';
import type { Watch } from './watch.js';

const MiB = 1024;
/** An idle guest's balloon is at most this, KiB: its need of 306 MiB, some 20 MiB more once it has eaten, and 24 MiB that are not worth a move. */
export const IDLE = 360 * MiB;

type Injured = Pick<Scene, 'watch' | 'undo'>;

/** Has a guest eat until it holds so many MiB, at so many MiB/s. */
export async function eat(guest: Guest, amount: number, rate: number): Promise<void> {
  await say(guest.name, guest.socket, `eat ${amount} ${rate}`);
}

/** Balloon size as last read, KiB; NaN before. */
export function sizeOf(watch: Watch, guest: Guest): number {
  return watch.readings.findLast(({ actual }) => guest.name in actual)?.actual[guest.name] ?? Number.NaN;
}

/**
 * Waits until a balloon is where it is meant to be.
 *
 * @returns how long that took, s.
 */
export async function reaches(scene: Scene, guest: Guest, what: string, limit: number, holds: (size: number) => boolean): Promise<number> {
  const begun = scene.now();
  const there = async (): Promise<true | undefined> => {
    if (scene.run.child.exitCode !== null) throw new LabError(`memcoord ended with code ${scene.run.child.exitCode}`);
    // What was read before does not count.
    const size = scene.watch.readings.findLast(({ t, actual }) => t >= begun && guest.name in actual)?.actual[guest.name];
    return size !== undefined && holds(size) ? true : undefined;
  };
  await until(`${guest.name} to ${what}`, limit * 1000, 50, there, scene.signal);
  return scene.now() - begun;
}

/** Waits until a guest's balloon has grown by so many MiB. */
export async function grows(scene: Scene, guest: Guest, by: number, limit: number): Promise<number> {
  const before = sizeOf(scene.watch, guest);
  return await reaches(scene, guest, `grow by ${by} MiB`, limit, (size) => size >= before + by * MiB);
}

/** Lets time pass, s. */
export async function pass(scene: Pick<Scene, 'signal'>, s: number): Promise<void> {
  for (let left = s; left > 0; left -= 0.2) {
    if (scene.signal.aborted) throw new LabError('interrupted');
    await sleep(Math.min(left, 0.2) * 1000);
  }
}

export async function qemuOf(guest: Guest): Promise<number> {
  const [pid] = await qemusOf([guest.uuid]);
  if (pid === undefined) throw new LabError(`${guest.name} has no QEMU`);
  return pid;
}

/** Stops a guest's QEMU by SIGSTOP. @returns lets it go on, which happens at the end of the play at the latest. */
export async function stopQemu({ watch, undo }: Injured, guest: Guest): Promise<() => Promise<void>> {
  const pid = await qemuOf(guest);
  await watch.leave(guest.name);
  return await stopped(pid, undo, () => watch.comeBack(guest.name));
}

/** Stops libvirtd by SIGSTOP. @returns as {@link stopQemu}. */
export async function stopLibvirtd({ undo }: Injured): Promise<() => Promise<void>> {
  return await stopped(await ownDaemon(), undo, () => undefined);
}

async function stopped(pid: number, undo: Scene['undo'], after: () => void): Promise<() => Promise<void>> {
  let still = true;
  const goOn = async (): Promise<void> => {
    if (!still) return;
    still = false;
    process.kill(pid, 'SIGCONT');
    after();
  };
  undo.push(goOn);
  process.kill(pid, 'SIGSTOP');
  return goOn;
}

/** Kills libvirtd. @returns starts it again, which happens at the end of the play at the latest. */
export async function killLibvirtd({ undo }: Injured): Promise<() => Promise<void>> {
  const pid = await ownDaemon();
  const startAgain = async (): Promise<void> => await startDaemon(() => undefined);
  undo.push(startAgain);
  process.kill(pid, 'SIGKILL');
  await until('libvirtd to be gone', 5000, 20, async () => ((await daemonPid()) === null ? true : undefined));
  return startAgain;
}

async function ownDaemon(): Promise<number> {
  const pid = await daemonPid();
  if (pid === null) throw new LabError('libvirtd is not one that the lab has started');
  return pid;
}

/** Coordinated: it is given memory as it eats, and gives it back. */
export async function takesAndGives(scene: Scene, guest: Guest): Promise<Verdict> {
  const begun = scene.now();
  await eat(guest, 300, 30);
  await reaches(scene, guest, 'have room for 300 MiB', 40, (size) => size >= 520 * MiB);
  // After a boot it may have had the room before.
  const full = async (): Promise<true | undefined> => {
    const { eaten = 0, eating, last_eaten: last = 0 } = await report(guest.name, guest.socket);
    if (eating === 0) throw new LabError(`${guest.name}'s eater was killed at ${mib(last)} of 300`);
    return eaten >= 300 * MiB ? true : undefined;
  };
  await until(`${guest.name} to hold 300 MiB`, 40_000, 250, full, scene.signal);
  const up = scene.now() - begun;
  await say(guest.name, guest.socket, 'free');
  const down = await reaches(scene, guest, 'give it back', 40, (size) => size <= IDLE);
  return { name: 'it is given memory as it eats and gives it back', ok: true, detail: `${seconds(up)} up, ${seconds(down)} down` };
}
