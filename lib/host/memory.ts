/** The memory of the host that we run on, from /proc. libvirt reports that of a remote host. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { partsOf } from '../common/uri.js';
import type { HostMemory } from '../hypervisor.js';

/**
 * The host is short of memory if, for this part of the last 10 s, %, some tasks stalled on memory, or all did
 * (Documentation/accounting/psi.rst). A host with room shows 0.00 for days; systemd-oomd starts to kill at 60. At a tenth, stalls begin to
 * cost and there is still time to act.
 */
const SOME_STALL_PERCENT = 10;
const FULL_STALL_PERCENT = 5;
/** Pages swapped out a second, beyond the kernel's swapping of idle memory (1 MiB/s in pages of 4 KiB). */
const SWAP_OUT_PAGES = 256;
/** Swapping is judged over this time at least, ms: a shorter one sees single bursts. */
const SWAP_WINDOW_MS = 1000;

export interface HostMemoryOptions {
  readonly proc?: string;
  readonly now?: () => number;
  /** {@link HostMemory.cgroupRoom}, from a caller that knows the guests. */
  readonly cgroupRoom?: () => number | null;
}

/**
 * A reader of the host's memory. It keeps the last count of pages swapped out, to compute the rate.
 *
 * It reads synchronously: the kernel makes these files up in some 10 µs each, where a detour by libuv's threads costs 200 [M].
 */
export function hostMemoryReader({
  proc: root = '/proc',
  now = () => performance.now(),
  cgroupRoom = () => null,
}: HostMemoryOptions = {}): () => HostMemory {
  let counted = { at: Number.NaN, pages: Number.NaN };
  let swapping = false;
  return () => {
    const meminfo = readFileSync(join(root, 'meminfo'), 'utf8');
    const vmstat = readFileSync(join(root, 'vmstat'), 'utf8');
    // Kernels without PSI have no such file; with psi=0 it cannot be read.
    const stalls = optional(join(root, 'pressure/memory'));
    const { arc, arcMinimum } = arcOf(optional(join(root, 'spl/kstat/zfs/arcstats')));
    const pages = numberAfter(vmstat, /^pswpout (\d+)$/m) ?? Number.NaN;
    const elapsed = now() - counted.at;
    if (!(elapsed < SWAP_WINDOW_MS)) {
      // NaN at the first reading: no verdict before there is a difference.
      swapping = ((pages - counted.pages) * 1000) / elapsed > SWAP_OUT_PAGES;
      counted = { at: now(), pages };
    }
    const some = numberAfter(stalls, /^some avg10=(\S+)/m) ?? 0;
    const full = numberAfter(stalls, /^full avg10=(\S+)/m) ?? 0;
    return {
      total: required(meminfo, 'MemTotal', root),
      available: required(meminfo, 'MemAvailable', root),
      arc,
      arcMinimum,
      hugePages: hugePagesOf(meminfo),
      cgroupRoom: cgroupRoom(),
      pressure: swapping || some > SOME_STALL_PERCENT || full > FULL_STALL_PERCENT,
    };
  };
}

/** ZFS' cache, KiB: 0 without ZFS. It is not part of the page cache, so MemAvailable does not count it. */
function arcOf(arcstats: string): Pick<HostMemory, 'arc' | 'arcMinimum'> {
  const kib = (name: string) => Math.floor((numberAfter(arcstats, new RegExp(`^${name}\\s+\\d+\\s+(\\d+)$`, 'm')) ?? 0) / 1024);
  const arcMinimum = kib('c_min');
  return { arc: Math.max(0, kib('size') - arcMinimum), arcMinimum };
}

/** All pools, KiB. Kernels before 4.16 report only the pool of the default size. */
function hugePagesOf(meminfo: string): number {
  const pages = (numberAfter(meminfo, /^HugePages_Total:\s+(\d+)$/m) ?? 0) * (numberAfter(meminfo, /^Hugepagesize:\s+(\d+) kB$/m) ?? 0);
  return numberAfter(meminfo, /^Hugetlb:\s+(\d+) kB$/m) ?? pages;
}

function optional(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Id of this boot of the machine; null if there is none. */
export async function bootId(root = '/proc'): Promise<string | null> {
  const id = await readFile(join(root, 'sys/kernel/random/boot_id'), 'utf8').catch(() => null);
  return id?.trim() ?? null;
}

/** True where libvirt's host is this one: a URI without a server, reached by no network transport. */
export function isLocal(uri: string): boolean {
  const parts = partsOf(uri);
  return parts !== null && parts.server === '' && (parts.transport ?? 'unix') === 'unix';
}

function numberAfter(text: string, pattern: RegExp): number | undefined {
  const match = pattern.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

function required(meminfo: string, field: string, root: string): number {
  const kib = numberAfter(meminfo, new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm'));
  if (kib === undefined) throw new Error(`${join(root, 'meminfo')} has no ${field}`);
  return kib;
}
