/**
 * The QEMU processes of guests on this host. libvirt has no call for them, but its QEMU driver keeps a pid file for each in its run
 * directory. A pid is trusted if its process was started for the guest's UUID.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { GuestIdentity } from '../sweep.js';

/** Where QEMU's driver keeps its pid files; null if the URI is of another driver or host. */
export function runDirectory(uri: string, environment: NodeJS.ProcessEnv = process.env): string | null {
  const match = /^qemu(?:\+unix)?:\/\/\/(system|session)(?:\?|$)/.exec(uri);
  if (match === null) return null;
  if (match[1] === 'system') return '/run/libvirt/qemu';
  return join(environment.XDG_RUNTIME_DIR ?? join(homedir(), '.cache'), 'libvirt/qemu/run');
}

/** The guest's process; null if it has ended or we may not see it. */
export function processOf({ name, uuid }: GuestIdentity, run: string, proc = '/proc'): number | null {
  // QEMU's driver allows no such names: none may lead to other folders.
  if (name.includes('/')) return null;
  try {
    const pid = Number(readFileSync(join(run, `${name}.pid`), 'utf8'));
    if (!Number.isInteger(pid)) return null;
    const words = readFileSync(`${proc}/${pid}/cmdline`, 'utf8').split('\0');
    return words[words.indexOf('-uuid') + 1] === uuid ? pid : null;
  } catch {
    return null;
  }
}

/** Pages of files in a process's resident memory (RssFile of /proc/PID/status), KiB; NaN where the process is gone. */
export function fileRss(pid: number, proc = '/proc'): number {
  try {
    return Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync(`${proc}/${pid}/status`, 'latin1'))?.[1]);
  } catch {
    return Number.NaN;
  }
}
