/** The faults as a soak deals them out: to any guest, at any moment, for as long as chance has it. */
import { report, say } from '../agent.js';
import { virsh } from '../daemon.js';
import { add, type Guest, ready, remove, start } from '../guests.js';
import { coordinatorCommand } from '../scenario.js';
import { LabError, ROOT, run, until } from '../shell.js';
import { eat, killLibvirtd, pass, qemuOf, sizeOf, stopLibvirtd, stopQemu } from './harm.js';
import type { Random } from './random.js';
import { fifth, launch, reports, type Scene } from './scene.js';
import type { Reports } from './verdicts.js';

const MiB = 1024;

/** A soak under way. */
export interface Soak extends Scene {
  /** The fifth guest, while there is one. */
  readonly extra: Guest[];
  readonly random: Random;
  /** What the agents said when their guests were last sound, to be compared with later. */
  baseline: Reports;
  /** Compares with the baseline, and takes a new one: before what is known is lost by a boot. */
  check(): Promise<void>;
  /** Guests that were started again: their stats period is not what it was. */
  readonly restarted: Set<string>;
  /** Second coordinators that were not refused. */
  readonly admitted: string[];
}

export interface Blow {
  readonly name: string;
  /** Is done to libvirtd. */
  readonly daemon?: boolean;
  /** @returns what was done, for the report; when it is undone. */
  strike(soak: Soak, guest: Guest): Promise<string>;
}

/** Stops something for a while. */
async function forAWhile(soak: Soak, low: number, high: number, goes: () => Promise<() => Promise<void>>): Promise<string> {
  const lasts = soak.random.between(low, high);
  const comesBack = await goes();
  await pass(soak, lasts);
  await comesBack();
  return `${lasts.toFixed(1)} s`;
}

/** Until the agent of a guest that has just booted answers; its counters begin anew. */
async function back(soak: Soak, guest: Guest): Promise<void> {
  const before = soak.baseline[guest.name]?.uptime ?? Number.NaN;
  const answer = async (): Promise<true | undefined> => {
    const figures = await report(guest.name, guest.socket, 2000).catch(() => null);
    return figures !== null && !((figures.uptime ?? Number.NaN) >= before) ? true : undefined;
  };
  await until(`${guest.name} to be back`, 90_000, 300, answer, soak.signal);
  soak.baseline = { ...soak.baseline, ...(await reports([guest])) };
}

const GUEST_BLOWS: readonly Blow[] = [
  {
    name: 'qemu-stopped',
    // One in eight for longer than libvirt waits for a monitor.
    strike: async (soak, guest) =>
      soak.random.whole(0, 8) === 0
        ? await forAWhile(soak, 32, 40, async () => await stopQemu(soak, guest))
        : await forAWhile(soak, 2, 12, async () => await stopQemu(soak, guest)),
  },
  {
    name: 'paused',
    strike: async (soak, guest) =>
      await forAWhile(soak, 2, 10, async () => {
        await virsh('suspend', guest.name);
        const resume = async (): Promise<void> => void (await virsh('resume', guest.name));
        soak.undo.push(resume);
        return resume;
      }),
  },
  {
    name: 'rebooted',
    async strike(soak, guest) {
      await soak.check();
      await say(guest.name, guest.socket, 'reboot');
      const begun = soak.now();
      await back(soak, guest);
      return `back after ${(soak.now() - begun).toFixed(1)} s`;
    },
  },
  {
    name: 'guest-killed',
    async strike(soak, guest) {
      await soak.check();
      soak.restarted.add(guest.name);
      process.kill(await qemuOf(guest), 'SIGKILL');
      await pass(soak, soak.random.between(2, 6));
      await start(guest);
      await ready(guest, { signal: soak.signal, moved: true });
      await back(soak, guest);
      return 'and started again';
    },
  },
  {
    name: 'come-and-go',
    async strike(soak) {
      const kind = soak.random.pick(['plain', 'autodeflate', 'driverless'] as const);
      const spec = fifth({ autodeflate: kind === 'autodeflate', driver: kind !== 'driverless' });
      const [guest] = (await add([spec], soak.signal)) as [Guest];
      const leave = async (): Promise<void> => {
        soak.extra.length = 0;
        await remove([guest]);
      };
      soak.undo.push(leave);
      soak.extra.push(guest);
      await ready(guest, { signal: soak.signal, moved: true });
      if (spec.driver) await eat(guest, 150, 4);
      await pass(soak, soak.random.between(5, 20));
      const { eaters_killed = Number.NaN } = await report(guest.name, guest.socket);
      if (eaters_killed !== 0) throw new LabError(`${kind} guest: ${eaters_killed} eaters killed`);
      await leave();
      return kind;
    },
  },
  {
    name: 'setmem',
    async strike(soak, guest) {
      // Upwards, and within the pool: what an operator takes from a guest that uses it, or overcommits, is not memcoord's doing.
      const size = Math.ceil(sizeOf(soak.watch, guest) / MiB);
      const to = soak.random.whole(size, Math.max(size + 1, 768));
      await virsh('setmem', guest.name, String(to * MiB), '--live');
      return `from ${size} to ${to} MiB`;
    },
  },
];

const HOST_BLOWS: readonly Blow[] = [
  { name: 'libvirtd-killed', daemon: true, strike: async (soak) => await forAWhile(soak, 0.2, 3, async () => await killLibvirtd(soak)) },
  { name: 'libvirtd-stopped', daemon: true, strike: async (soak) => await forAWhile(soak, 1, 7, async () => await stopLibvirtd(soak)) },
  {
    name: 'coordinator-killed',
    async strike(soak) {
      soak.run.child.kill('SIGKILL');
      await soak.run.exited;
      await pass(soak, soak.random.between(0, 3));
      soak.run = launch(soak);
      const { told } = soak.run;
      const there = async (): Promise<true | undefined> => told.some(({ kind }) => kind === 'connected') || undefined;
      await until('the next memcoord to connect', 20_000, 50, there, soak.signal);
      return 'and started again';
    },
  },
  {
    name: 'second-coordinator',
    async strike(soak) {
      const [command = '', ...args] = coordinatorCommand(soak.uri, soak.pool, undefined);
      const { code } = await run(command, args, { cwd: ROOT, mayFail: true, timeoutMs: 15_000 });
      if (code !== 4) soak.admitted.push(`exit code ${code}`);
      return `exit code ${code}`;
    },
  },
];

export const BLOWS: readonly Blow[] = [...GUEST_BLOWS, ...HOST_BLOWS];
