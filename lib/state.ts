/**
 * What must outlive this process: the stats periods that guests had before a coordinator changed them, so that the next one can put
 * them back after a crash of this one. One small JSON file for each host.
 *
 * The file is ours to write and anyone's to break: what cannot be read, or was written by a later version, is set aside under another
 * name and never trusted, and a file that cannot be written costs a warning and nothing else.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';

/** Stats periods of one start of a guest, seconds; 0 = off. */
export interface SavedPeriod {
  /** libvirt's id of that start. */
  readonly id: number;
  /** What it had before. */
  readonly original: number;
  /** What it was set to. */
  readonly set: number;
}

/** By the guest's UUID. */
export type SavedPeriods = ReadonlyMap<string, SavedPeriod>;

export interface State {
  /** What the last coordinator of this host left behind; nothing where the machine has booted since. */
  load(): Promise<SavedPeriods>;
  /** Resolves when it is on disk, whatever becomes of it: where it cannot be written, that has been told. */
  save(periods: SavedPeriods): Promise<void>;
}

const VERSION = 1;
const seconds = z.int().min(0).max(2_147_483_647);
const schema = z.strictObject({
  version: z.literal(VERSION),
  boot: z.string().nullable(),
  periods: z.record(z.uuid(), z.strictObject({ id: z.int().min(0), original: seconds, set: seconds })),
});

/**
 * Where the state of a host is kept: where the service manager says (systemd's StateDirectory=), else for root with the system's, else
 * with the user's own.
 */
export function statePath(hostId: string, environment: NodeJS.ProcessEnv = process.env, root = process.getuid?.() === 0): string {
  const own = root ? '/var/lib/memcoord' : join(environment.XDG_STATE_HOME || join(homedir(), '.local/state'), 'memcoord');
  const folder = environment.STATE_DIRECTORY || own;
  // A host without a UUID is named by its URI.
  return join(folder, `${encodeURIComponent(hostId)}.json`);
}

/**
 * @param boot names the boot of the machine: libvirt counts its guests anew after one. null where it is not known.
 * @param warn is told, once each, that the file was set aside or cannot be written.
 */
export function fileState(path: string, boot: string | null, warn: (message: string) => void): State {
  let writing: Promise<void> = Promise.resolve();
  let told = false;
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          warn(`${path}: cannot be read, so what it says is lost: ${messageOf(error)}`);
        return new Map();
      }
      const read = parse(text);
      if ('problem' in read) {
        const aside = `${path}.bad`;
        await rename(path, aside).catch(() => {});
        warn(
          `${path}: not what memcoord ${VERSION === read.version ? 'wrote' : 'of this version writes'} (${read.problem}); set aside as ${aside}`,
        );
        return new Map();
      }
      return read.boot === boot ? new Map(Object.entries(read.periods)) : new Map();
    },
    save(periods) {
      writing = writing.then(async () => {
        try {
          await replace(path, `${JSON.stringify({ version: VERSION, boot, periods: Object.fromEntries(periods) })}\n`);
          told = false;
        } catch (error) {
          if (!told) warn(`${path}: cannot be written, so a crash would leave the guests' stats periods changed: ${messageOf(error)}`);
          told = true;
        }
      });
      return writing;
    },
  };
}

function parse(text: string): z.infer<typeof schema> | { readonly problem: string; readonly version: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { problem: messageOf(error), version: VERSION };
  }
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  const version = typeof value === 'object' && value !== null && 'version' in value ? value.version : VERSION;
  return { problem: `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'unknown'}`, version };
}

/** Whoever reads meanwhile, or after a crash of the machine, finds the old text or the new one, whole. */
async function replace(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
