/**
 * What must outlive this process, so that the next one can resume after any kind of end and restore the guests: their original stats
 * periods and balloon sizes, the last targets, and what was learned of the balloons. One small JSON file for each host.
 *
 * Local guests end when the machine boots, so their state is kept where a boot clears it. Guests of other hosts live on, so theirs is kept
 * on disk. Local guests that libvirt has saved live on as well, so what they had before is kept on disk in a second file.
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
  /** That start is over, but libvirt may have saved the guest's memory, and would start it again with the same balloon. */
  readonly asleep?: true;
}

/** By the guest's UUID. */
export type SavedGuests = ReadonlyMap<string, SavedGuest>;

/** What outlives a coordinator, wherever it is kept. */
export interface State {
  /** What the last coordinator of this host left behind. */
  load(): Promise<SavedGuests>;
  /** Resolves when this save, or a later one, has been written or has failed, which gives a warning. Never rejects. */
  save(guests: SavedGuests): Promise<void>;
  /** The same of guests that are `asleep`, where it outlives a boot of their host. Not there: `save` does that too, or nothing does. */
  keep?(guests: SavedGuests): Promise<void>;
}

const VERSION = 3;
/** Id of a start in another boot of the host: libvirt counts from 1 again. */
const ANOTHER_BOOT = 0;
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
const guest = z.strictObject({ id, period: period.nullable(), balloon: balloon.nullable(), asleep: z.literal(true).exactOptional() });
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
  if (isLocal(uri)) return { path: join(runtimeFolder(environment, user), fileOf(uri)), lasting: false };
  return { path: join(stateFolder(environment, user), fileOf(hostId)), lasting: true };
}

/** Where what a local host's guests had is kept while libvirt holds them saved: on disk, since the guests outlive a boot there too. */
export function sleepersPlace(uri: string, environment: NodeJS.ProcessEnv = process.env, user = process.getuid?.() ?? 0): string {
  return join(stateFolder(environment, user), fileOf(uri, 'saved.json'));
}

function runtimeFolder({ RUNTIME_DIRECTORY, XDG_RUNTIME_DIR }: NodeJS.ProcessEnv, user: number): string {
  return RUNTIME_DIRECTORY || join(user === 0 ? '/run' : XDG_RUNTIME_DIR || `/run/user/${user}`, 'memcoord');
}

function stateFolder({ STATE_DIRECTORY, XDG_STATE_HOME }: NodeJS.ProcessEnv, user: number): string {
  return STATE_DIRECTORY || join(user === 0 ? '/var/lib' : XDG_STATE_HOME || join(homedir(), '.local/state'), 'memcoord');
}

/** The name may be a URI. */
function fileOf(name: string, extension = 'json'): string {
  return `${encodeURIComponent(name)}.${extension}`;
}

/** The state of a host in its default place; null if no other process can share the host. */
export async function stateOf(hypervisor: Hypervisor, warn: (message: string) => void, options: StateOptions = {}): Promise<State | null> {
  const hostId = await hypervisor.hostId();
  if (hostId === null) return null;
  const { path, lasting } = statePlace(hypervisor.uri, hostId);
  if (lasting) return fileState(path, warn, { ...options, boot: await bootId() });
  return withSleepers(fileState(path, warn, options), fileState(sleepersPlace(hypervisor.uri), warn, { ...options, boot: null }));
}

/** What `state` keeps until a boot, and beyond that what `sleepers` keeps. What is newer, in `state`, is believed. */
export function withSleepers(state: State, sleepers: State): State {
  return {
    async load() {
      const asleep = [...(await sleepers.load())].map(([uuid, saved]) => [uuid, { ...saved, id: ANOTHER_BOOT, asleep: true }] as const);
      return new Map<string, SavedGuest>([...asleep, ...(await state.load())]);
    },
    save: (guests) => state.save(guests),
    keep: (guests) => sleepers.save(guests),
  };
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
export function withoutTimes({ balloon, ...saved }: SavedGuest): SavedGuest {
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
