/**
 * What must outlive this process, so that the next one can resume after any kind of end and restore the guests: their original stats
 * periods and balloon sizes, the last targets, and what was learned of the balloons. One small JSON file for each host.
 *
 * Local guests end when the machine boots, so their state is kept where a boot clears it. Guests of other hosts live on, so theirs is kept
 * on disk.
 *
 * Anyone may break the file. If its content is not valid or of another version, it is renamed, and what is wrong in it is never trusted. A
 * file that cannot be written costs a warning and nothing else.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { readFileOf } from '../common/file.js';
import { messageOf } from '../common/text.js';
import { clipped } from '../config/settings.js';
import { bootId, isLocal } from '../host/memory.js';
import type { Hypervisor } from '../hypervisor.js';
import type { Remembered } from '../policy/types.js';

/** What is kept of one start of a guest. */
export interface SavedGuest {
  /** libvirt's id of that start. */
  readonly id: number;
  /** Its stats period before, and what it was set to, seconds, 0 = off; null = not changed. */
  readonly period: { readonly original: number; readonly set: number } | null;
  /** Its balloon; null = nothing to remember. */
  readonly balloon: Remembered | null;
}

/** By the guest's UUID. */
export type SavedGuests = ReadonlyMap<string, SavedGuest>;

/** What outlives a coordinator, wherever it is kept. */
export interface State {
  /** What the last coordinator of this host left behind. */
  load(): Promise<SavedGuests>;
  /** Resolves when this save, or a later one, has been written or has failed, which gives a warning. Never rejects. */
  save(guests: SavedGuests): Promise<void>;
}

const VERSION = 3;
/** A guest takes some 300 bytes: enough for more guests than libvirt can run. */
const MOST_BYTES = 16 * 1024 * 1024;
const id = z.int().min(0);
const seconds = z.int().min(0).max(2_147_483_647);
/** KiB, KiB/s and ms: no sum of them must lose its precision. */
const amount = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const period = z.strictObject({ original: seconds, set: seconds });
const balloon = z.strictObject({
  original: amount,
  target: amount,
  orderedAt: amount,
  speed: amount,
  reachable: amount,
  shrinkAfter: amount,
  pause: amount,
  thrashed: z.boolean(),
  cache: z.strictObject({ working: amount, floor: amount, probeAfter: amount, pause: amount, rereads: amount, rereadMs: amount }),
});
const guest = z.strictObject({ id, period: period.nullable(), balloon: balloon.nullable() });
const schema = z.strictObject({
  version: z.literal(VERSION),
  boot: z.string().nullable().optional(),
  guests: z.record(z.string(), z.unknown()),
});
/** Any 128 bits: libvirt requires no more, and the UUIDs of its own test guests do not follow RFC 4122. */
const ANY_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Where the state of a host is kept. */
export interface StatePlace {
  readonly path: string;
  /** Whether it survives a boot of this machine. */
  readonly lasting: boolean;
}

/**
 * Where the state of a host is kept. That of this machine: in `$RUNTIME_DIRECTORY` (systemd's RuntimeDirectory=), else in `/run/memcoord`
 * for root and in `$XDG_RUNTIME_DIR/memcoord` for others. That of another machine: in `$STATE_DIRECTORY` (StateDirectory=), else in
 * `/var/lib/memcoord` for root and in `$XDG_STATE_HOME/memcoord` for others.
 *
 * The file of a local host is named by its URI. If libvirt finds no UUID of the machine, as in sessions of users who may not read SMBIOS,
 * it makes one up, a new one at each start of its daemon.
 */
export function statePlace(
  uri: string,
  hostId: string,
  environment: NodeJS.ProcessEnv = process.env,
  user = process.getuid?.() ?? 0,
): StatePlace {
  const lasting = !isLocal(uri);
  const { RUNTIME_DIRECTORY, STATE_DIRECTORY, XDG_RUNTIME_DIR, XDG_STATE_HOME } = environment;
  const given = lasting ? STATE_DIRECTORY : RUNTIME_DIRECTORY;
  const roots = lasting ? '/var/lib' : '/run';
  const own = lasting ? XDG_STATE_HOME || join(homedir(), '.local/state') : XDG_RUNTIME_DIR || `/run/user/${user}`;
  const folder = given || join(user === 0 ? roots : own, 'memcoord');
  // The name may be a URI.
  return { path: join(folder, `${encodeURIComponent(lasting ? hostId : uri)}.json`), lasting };
}

/** The state of a host in its default place; null if no other process can share the host. */
export async function stateOf(hypervisor: Hypervisor, warn: (message: string) => void, options: StateOptions = {}): Promise<State | null> {
  const hostId = await hypervisor.hostId();
  if (hostId === null) return null;
  const { path, lasting } = statePlace(hypervisor.uri, hostId);
  return fileState(path, warn, { ...options, ...(lasting ? { boot: await bootId() } : {}) });
}

/** How a state file is used. */
export interface StateOptions {
  /** Nothing is written and nothing set aside. */
  readonly readOnly?: boolean;
  /**
   * Id of this boot of our machine, null if it has none; given if the file outlives a boot. Our clock starts anew at a boot, so times noted
   * before it mean nothing.
   */
  readonly boot?: string | null;
}

/**
 * A state that is kept in a file.
 *
 * @param warn is called, once each, when the file was set aside or cannot be read or written.
 */
export function fileState(path: string, warn: (message: string) => void, { readOnly = false, boot }: StateOptions = {}): State {
  let writing: Promise<void> = Promise.resolve();
  /** The save that has not begun yet: newer ones replace its guests. */
  let next: { guests: SavedGuests; readonly done: Promise<void> } | null = null;
  let told = false;
  const write = async (guests: SavedGuests): Promise<void> => {
    try {
      const text = `${JSON.stringify({ version: VERSION, boot, guests: Object.fromEntries(guests) })}\n`;
      await replace(path, text, { lasting: boot !== undefined });
      told = false;
    } catch (error) {
      if (!told) warn(`${path}: cannot be written, so a crash would lose what the guests had before memcoord came: ${messageOf(error)}`);
      told = true;
    }
  };
  return {
    async load() {
      let text: string;
      try {
        text = await readFileOf(path, MOST_BYTES);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          warn(`${path}: cannot be read, so its content is ignored: ${messageOf(error)}`);
        return new Map();
      }
      const { boot: written, guests, problem, version } = parse(text);
      if (problem !== null) {
        const fate = readOnly ? 'it is not believed' : await setAside(path);
        const rest = guests.size > 0 ? '; what it says of the other guests is believed' : '';
        warn(`${path}: not what memcoord ${VERSION === version ? 'wrote' : 'of this version writes'} (${problem}); ${fate}${rest}`);
      }
      const isOfThisBoot = boot === undefined || (boot !== null && written === boot);
      return isOfThisBoot ? guests : new Map([...guests].map(([uuid, saved]) => [uuid, withoutTimes(saved)]));
    },
    save(guests) {
      if (readOnly) return Promise.resolve();
      if (next !== null) {
        next.guests = guests;
        return next.done;
      }
      writing = writing.then(() => {
        const latest = next?.guests ?? guests;
        next = null;
        return write(latest);
      });
      next = { guests, done: writing };
      return writing;
    },
  };
}

/** What stays valid after our clock has started anew. */
function withoutTimes({ balloon, ...saved }: SavedGuest): SavedGuest {
  if (balloon === null) return { ...saved, balloon };
  const { cache } = balloon;
  return { ...saved, balloon: { ...balloon, orderedAt: 0, shrinkAfter: 0, cache: { ...cache, probeAfter: 0 } } };
}

interface Read {
  readonly boot: string | null;
  readonly guests: SavedGuests;
  /** The first thing that is wrong; null = nothing. */
  readonly problem: string | null;
  readonly version: unknown;
}

/** Drops entries that are not valid and keeps the others. */
function parse(text: string): Read {
  const nothing = { boot: null, guests: new Map<string, SavedGuest>() };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ...nothing, problem: messageOf(error), version: VERSION };
  }
  const version = typeof value === 'object' && value !== null && 'version' in value ? value.version : VERSION;
  const read = schema.safeParse(value);
  if (!read.success) return { ...nothing, problem: problemOf(read.error), version };
  const guests = new Map<string, SavedGuest>();
  let problem: string | null = null;
  for (const [uuid, entry] of Object.entries(read.data.guests)) {
    const one = ANY_UUID.test(uuid) ? guest.safeParse(entry) : { success: false as const, error: null };
    if (one.success) guests.set(uuid, one.data);
    else problem ??= one.error === null ? `guests: ${clipped(uuid)} is no UUID` : `guests.${uuid}.${problemOf(one.error)}`;
  }
  return { boot: read.data.boot ?? null, guests, problem, version };
}

function problemOf({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'unknown'}`;
}

/** @returns what was done, in words */
async function setAside(path: string): Promise<string> {
  const aside = `${path}.bad`;
  try {
    await rename(path, aside);
    return `set aside as ${aside}`;
  } catch (error) {
    return `it is not believed, and cannot be set aside: ${messageOf(error)}`;
  }
}

/**
 * Replaces a file: readers find the old text or the new one, whole; if `lasting`, also after a crash of the machine. The new file is
 * created, never opened, so that no link in its place is followed.
 */
async function replace(path: string, text: string, { lasting }: { readonly lasting: boolean }): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rm(`${path}.new`, { force: true });
  const file = await open(`${path}.new`, 'wx', 0o600);
  try {
    await file.writeFile(text);
    if (lasting) await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
