/** A memory cgroup of the lab's own, for guests whose limit is less than what the host has. Version 1 or 2, whichever this machine has. */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError, until } from './shell.js';

/** Sizes in KiB. */
export interface MemoryCgroup {
  readonly path: string;
  /** @throws LabError with the reason where this machine, or this user, cannot have one. */
  make(): Promise<void>;
  /** Has a process counted here from now on; what it holds already stays where it was counted. */
  add(pid: number): Promise<void>;
  /** What may still be taken: the limit less what is used, file pages that the kernel can drop not counted as used. */
  room(): Promise<number>;
  /** Processes that were killed because the limit was reached. */
  killed(): Promise<number>;
  /** Waits for its processes to end, and removes it. */
  remove(): Promise<void>;
}

interface Files {
  readonly limit: string;
  readonly usage: string;
  /** In memory.stat. */
  readonly inactiveFile: string;
  /** Has a line `oom_kill N`. */
  readonly events: string;
}

const V1: Files = {
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  inactiveFile: 'total_inactive_file',
  events: 'memory.oom_control',
};
const V2: Files = { limit: 'memory.max', usage: 'memory.current', inactiveFile: 'inactive_file', events: 'memory.events' };
const NAME = 'memcoord-lab';

/** @returns where the hierarchy that counts memory is mounted. */
async function hierarchy(): Promise<{ root: string; files: Files }> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  const v1 = mounts.find(([, , type, options = '']) => type === 'cgroup' && options.split(',').includes('memory'));
  if (v1?.[1] !== undefined) return { root: v1[1], files: V1 };
  for (const [, path = '', type] of mounts) {
    if (type !== 'cgroup2') continue;
    // What it has for its children: the lab changes nothing for others.
    const controllers = await readFile(join(path, 'cgroup.subtree_control'), 'utf8').catch(() => '');
    if (controllers.trim().split(' ').includes('memory')) return { root: path, files: V2 };
  }
  throw new LabError('no cgroup hierarchy counts memory');
}

async function numberOf(path: string, name?: string): Promise<number> {
  const text = await readFile(path, 'utf8');
  if (name === undefined) return Number(text);
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

/**
 * The cgroup, made or not yet made.
 *
 * @throws LabError where no memory cgroup can be on this machine.
 */
export async function memoryCgroup(limit: number): Promise<MemoryCgroup> {
  const { root, files } = await hierarchy();
  const path = join(root, NAME);
  return {
    path,
    async make() {
      try {
        // One that a lab has left that was killed.
        await rmdir(path).catch(() => undefined);
        await mkdir(path);
        await writeFile(join(path, files.limit), String(limit * 1024));
      } catch (error) {
        await rmdir(path).catch(() => undefined);
        throw new LabError(`cannot make ${path}: ${error instanceof Error ? error.message : error}`);
      }
    },
    add: async (pid) => await writeFile(join(path, 'cgroup.procs'), String(pid)),
    async room() {
      const [used, droppable] = await Promise.all([
        numberOf(join(path, files.usage)),
        numberOf(join(path, 'memory.stat'), files.inactiveFile),
      ]);
      return limit - (used - droppable) / 1024;
    },
    killed: async () => await numberOf(join(path, files.events), 'oom_kill'),
    async remove() {
      const removed = async (): Promise<true | undefined> =>
        await rmdir(path).then(
          () => true,
          () => undefined,
        );
      await until(`the processes in ${path} to end`, 10_000, 100, removed);
    },
  };
}
