/** CPU time of other processes, and which of them is libvirt's daemon. From /proc. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { processes } from '../test/lab/processes.js';
import { LabError } from '../test/lab/shell.js';

/**
 * CPU time of a process so far, ms, threads that have ended included, by the ticks of proc(5): 10 ms mostly. For long runs.
 */
export async function cpuTicks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold blanks. USER_HZ, the unit here, is 100 on all platforms that libvirt runs on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/**
 * CPU time of the threads that a process has, ms, to the nanosecond (sched-stats.rst). For short runs of a process that keeps its threads,
 * as libvirtd does.
 */
export async function cpuExact(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(threads.map(async (thread) => await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')));
  return times.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0) / 1e6;
}

/** Where a local daemon of QEMU's driver listens: the monolithic one, or the modular. */
function socketsOf(uri: string): string[] {
  const folder = uri.startsWith('qemu:///system')
    ? '/run/libvirt'
    : join(process.env.XDG_RUNTIME_DIR ?? process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'libvirt');
  return ['libvirt-sock', 'virtqemud-sock'].map((name) => join(folder, name));
}

/**
 * The process that serves a local URI of QEMU's driver: the daemon that holds the socket.
 *
 * @throws LabError where there is none, or it belongs to another user.
 */
export async function daemonOf(uri: string): Promise<number> {
  const sockets = socketsOf(uri);
  const lines = (await readFile('/proc/net/unix', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
  const links = new Set(
    lines
      .filter(([, , , , , , , path]) => path !== undefined && sockets.includes(path.replace(/^\/var\/run/, '/run')))
      .map((line) => `socket:[${line[6]}]`),
  );
  for (const pid of await processes()) {
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    // The service manager may hold the socket too.
    if (!/^(libvirtd|virtqemud)$/.test(name.trim())) continue;
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const targets = await Promise.all(files.map(async (file) => await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')));
    if (targets.some((target) => links.has(target))) return pid;
  }
  throw new LabError(`no daemon of ours is found that serves ${uri}`);
}
