/**
 * Memory limits of the cgroups that guests' QEMU processes are in. A guest that runs into one is killed or throttled however much the host
 * has. Both hierarchies are read: v2's memory.max and memory.high (Documentation/admin-guide/cgroup-v2.rst), v1's memory.limit_in_bytes.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The QEMU process of a guest. */
export interface GuestProcess {
  readonly uuid: string;
  readonly pid: number;
}

export interface CgroupLimits {
  /** What is left within the tightest limit over all the guests, reclaimable file pages included, KiB; null = there is no limit. */
  room(): number | null;
  /** Limits that hold for one guest alone, KiB, by uuid. */
  readonly own: ReadonlyMap<string, number>;
}

/** A hierarchy that accounts memory. */
interface Hierarchy {
  readonly version: 1 | 2;
  /** Its mount point, and which of its folders is mounted there: not `/` inside a container. */
  readonly mount: string;
  readonly root: string;
}

/** Where there is no limit, v1 reports LONG_MAX bytes, rounded to pages. */
const NO_LIMIT = 2 ** 62;

/** libvirt makes a folder for each guest (virSystemdMakeScopeName; without systemd virCgroupNewDomainPartition). */
const GUESTS_OWN = /^machine-qemu.*\.scope$|\.libvirt-qemu$/;

/**
 * Finds the limits that hold for these guests. A limit over some of the guests but not all is left out: it says nothing about the others,
 * and does not bound any single guest.
 *
 * @param processes of all guests
 */
export function cgroupLimits(processes: readonly GuestProcess[], proc = '/proc'): CgroupLimits {
  const hierarchies = mounted(proc);
  /** The guests in each folder with a limit. */
  const guests = new Map<string, { readonly version: 1 | 2; readonly uuids: string[] }>();
  for (const { uuid, pid } of processes) {
    for (const { version, folder } of foldersOf(pid, hierarchies, proc)) {
      const known = guests.get(folder);
      if (known !== undefined) known.uuids.push(uuid);
      else if (Number.isFinite(limitOf(folder, version))) guests.set(folder, { version, uuids: [uuid] });
    }
  }
  const shared: { readonly version: 1 | 2; readonly folder: string }[] = [];
  const own = new Map<string, number>();
  for (const [folder, { version, uuids }] of guests) {
    const [uuid = ''] = uuids;
    const alone = uuids.length === 1 && (processes.length > 1 || isGuestsOwn(folder));
    if (alone) own.set(uuid, Math.min(own.get(uuid) ?? Number.POSITIVE_INFINITY, limitOf(folder, version)));
    else if (uuids.length === processes.length) shared.push({ version, folder });
  }
  return {
    own,
    room() {
      const rooms = shared.map(({ folder, version }) => roomIn(folder, version)).filter(Number.isFinite);
      return rooms.length === 0 ? null : Math.max(0, Math.min(...rooms));
    },
  };
}

/** Whether this folder, or one above it, is for a single guest. */
function isGuestsOwn(folder: string): boolean {
  return folder.split('/').some((name) => GUESTS_OWN.test(name));
}

function mounted(proc: string): Hierarchy[] {
  // https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
  return lines(join(proc, 'self/mountinfo')).flatMap((line): Hierarchy[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root = '', mount = ''] = before.split(' ').map(unescaped);
    const [type, , options = ''] = after.split(' ');
    if (type === 'cgroup2') return [{ version: 2, mount, root }];
    return type === 'cgroup' && options.split(',').includes('memory') ? [{ version: 1, mount, root }] : [];
  });
}

/** Blanks and backslashes are written in octal. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The process's folder in the hierarchy that accounts its memory, and those above it. */
function foldersOf(pid: number, hierarchies: readonly Hierarchy[], proc: string): { readonly version: 1 | 2; readonly folder: string }[] {
  const entries = lines(join(proc, String(pid), 'cgroup')).map((line) => /^(\d+):([^:]*):(.*)$/.exec(line));
  // If v1 has the memory controller, v2 does not.
  const v1 = entries.find((entry) => entry?.[2]?.split(',').includes('memory'));
  const path = (v1 ?? entries.find((entry) => entry?.[1] === '0'))?.[3];
  const version = v1 === undefined ? 2 : 1;
  const hierarchy = hierarchies.find((each) => each.version === version);
  // A path that leads out of our cgroup namespace cannot be seen from here.
  if (hierarchy === undefined || path === undefined || path.split('/').includes('..')) return [];
  const inside = path === hierarchy.root || path.startsWith(`${hierarchy.root}/`) ? path.slice(hierarchy.root.length) : path;
  const folders: { version: 1 | 2; folder: string }[] = [];
  for (let folder = join(hierarchy.mount, inside); ; folder = dirname(folder)) {
    folders.push({ version, folder });
    if (folder.length <= hierarchy.mount.length) return folders;
  }
}

/** A folder's limit, KiB; Infinity = none. */
function limitOf(folder: string, version: 1 | 2): number {
  if (version === 1) return kib(numberIn(join(folder, 'memory.limit_in_bytes'), Number.POSITIVE_INFINITY));
  const files = ['memory.max', 'memory.high'].map((file) => numberIn(join(folder, file), Number.POSITIVE_INFINITY));
  return kib(Math.min(...files));
}

/** Infinity where there is no limit, or none that could be read. */
function roomIn(folder: string, version: 1 | 2): number {
  const usage = numberIn(join(folder, version === 1 ? 'memory.usage_in_bytes' : 'memory.current'), Number.NEGATIVE_INFINITY);
  return limitOf(folder, version) - kib(usage) + kib(reclaimable(folder, version));
}

/** Pages of files, bytes: the kernel reclaims them before it kills. Shared memory is not among them. */
function reclaimable(folder: string, version: 1 | 2): number {
  // v1's plain figures leave out the folders below, where the guests are.
  const pattern = version === 1 ? /^total_(?:in)?active_file (\d+)$/ : /^(?:in)?active_file (\d+)$/;
  return lines(join(folder, 'memory.stat')).reduce((sum, line) => sum + Number(pattern.exec(line)?.[1] ?? 0), 0);
}

function kib(bytes: number): number {
  return bytes >= NO_LIMIT ? Number.POSITIVE_INFINITY : bytes / 1024;
}

/** The number that is all of a file; `otherwise` if it is `max` or cannot be read. */
function numberIn(file: string, otherwise: number): number {
  const [text = ''] = lines(file);
  return /^\d+$/.test(text) ? Number(text) : otherwise;
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    // The process or folder has gone meanwhile, or it is the root folder of v2, which has no limit.
    return [];
  }
}
