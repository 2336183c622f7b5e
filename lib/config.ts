/** The configuration: defaults, under a YAML file, under the command line. */
import { readFile } from 'node:fs/promises';
import picomatch from 'picomatch';
import { isMap, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import type { GuestOverrides, PolicyConfig } from './policy/types.js';
import { didYouMean, GUEST_SETTINGS, HOST_SETTINGS } from './settings.js';
import { MiB } from './units.js';

export interface Config extends PolicyConfig {
  /** libvirt connection URI. */
  readonly uri: string;
  /** Globs of guests' names to coordinate; empty = all. */
  readonly include: readonly string[];
  /** Globs of guests' names to leave alone; wins over `include`. */
  readonly exclude: readonly string[];
  /** Settings by globs of guests' names; later entries win, key by key. */
  readonly guests: readonly { readonly match: string; readonly settings: GuestOverrides }[];
}

/** A setting that is not allowed. The message names the file or option, the line, the setting and what is allowed. */
export class ConfigError extends Error {
  readonly code = 'ERR_MEMCOORD_CONFIG';
  override readonly name = 'ConfigError';
}

export function defaultConfig(): Config {
  return {
    uri: process.env.LIBVIRT_DEFAULT_URI || 'qemu:///system',
    intervalMs: 1000,
    poolKiB: null,
    reserveKiB: null,
    signal: 'usable',
    surplus: 'host',
    burstKiBs: 200 * MiB,
    eyes: 0.05,
    include: [],
    exclude: [],
    guests: [],
  };
}

const GUEST_KEYS = ['match', ...Object.keys(GUEST_SETTINGS)];
const HOST_KEYS = [...Object.keys(HOST_SETTINGS), 'guests'];

const guestEntry = z
  .strictObject({ ...z.object(GUEST_SETTINGS).partial().shape, match: HOST_SETTINGS.connect }, 'must be a mapping with the key match')
  .refine(({ min, max }) => min === undefined || max === undefined || min <= max, { message: 'must not be more than max', path: ['min'] });

const schema = z
  .strictObject(
    { ...HOST_SETTINGS, guests: z.array(guestEntry, 'must be a list of mappings, each with the key match') },
    'must be a mapping',
  )
  .partial();

/** Settings as they are written in a file, read: what {@link withSettings} puts over a configuration. */
export type Settings = z.infer<typeof schema>;

/** Puts what is set over `config`. */
export function withSettings(config: Config, settings: Settings): Config {
  return {
    uri: settings.connect ?? config.uri,
    intervalMs: settings.interval ?? config.intervalMs,
    poolKiB: settings.pool ?? config.poolKiB,
    reserveKiB: settings.reserve ?? config.reserveKiB,
    signal: settings.signal ?? config.signal,
    surplus: settings.surplus ?? config.surplus,
    burstKiBs: settings.burst ?? config.burstKiBs,
    eyes: settings.eyes ?? config.eyes,
    include: settings.include ?? config.include,
    exclude: settings.exclude ?? config.exclude,
    guests: settings.guests?.map(({ match, ...rest }) => ({ match, settings: defined(rest) })) ?? config.guests,
  };
}

/** Without the keys that are not set: they would cover those of an earlier entry. */
function defined(settings: object): GuestOverrides {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/**
 * Reads a configuration file over the defaults.
 *
 * @throws ConfigError (`ERR_MEMCOORD_CONFIG`) with one line for each thing that is wrong.
 */
export async function loadConfig(path: string): Promise<Config> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`${path}: cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return parseConfig(text, path);
}

/** {@link loadConfig} on a text; `file` is the name in messages. */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const flaw = document.errors[0] ?? document.warnings[0];
  if (flaw !== undefined) throw new ConfigError(`${file}:${lines.linePos(flaw.pos[0]).line}: not YAML: ${flaw.message}`);
  const read = schema.safeParse(toPlain(document, file) ?? {});
  if (read.success) return withSettings(defaultConfig(), read.data);
  const at = (offset: number | undefined): string => (offset === undefined ? file : `${file}:${lines.linePos(offset).line}`);
  const complaints = read.error.issues.flatMap((issue) => {
    const node = document.getIn(issue.path, true) as Node | undefined;
    const where = (keys: readonly PropertyKey[]): string =>
      keys
        .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
        .join('')
        .replace(/^\./, '');
    if (issue.code === 'unrecognized_keys') {
      const known = issue.path.length === 0 ? HOST_KEYS : GUEST_KEYS;
      return issue.keys.map((key) => {
        const hint = didYouMean(key, known) || `; known: ${known.join(', ')}`;
        return `${at(keyOffset(node, key))}: ${where([...issue.path, key])}: no such setting${hint}`;
      });
    }
    const offset = node?.range?.[0] ?? (document.getIn(issue.path.slice(0, -1), true) as Node | undefined)?.range?.[0];
    const message = issue.code === 'invalid_type' && node === undefined ? 'is missing' : issue.message;
    return [`${at(offset)}: ${where(issue.path) || 'the file'}: ${message}`];
  });
  throw new ConfigError(complaints.join('\n'));
}

/** @throws ConfigError where aliases grow beyond all bounds. */
function toPlain(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new ConfigError(`${file}: not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function keyOffset(node: unknown, key: string): number | undefined {
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}

/** A domain's name is no path: `*` matches any of it, a leading dot too, and `!` is a letter like others. */
function matches(glob: string, name: string): boolean {
  return picomatch.isMatch(name, glob, { dot: true, bash: true, nonegate: true });
}

/** What the configuration sets for a guest. */
export function guestOverrides(config: Config, name: string): GuestOverrides {
  return Object.assign({}, ...config.guests.filter(({ match }) => matches(match, name)).map(({ settings }) => settings));
}

/** Whether a guest is to be coordinated, as far as `include` and `exclude` go. */
export function isIncluded(config: Config, name: string): boolean {
  const named = (globs: readonly string[]): boolean => globs.some((glob) => matches(glob, name));
  return (config.include.length === 0 || named(config.include)) && !named(config.exclude);
}
