/** The configuration: defaults, under a YAML file, under the command line. */
import { z } from 'zod';
import { isMore, MiB } from '../common/units.js';
import type { GuestOverrides, PolicyConfig } from '../policy/types.js';
import { globMatcher } from './glob.js';
import { GLOB, GUEST_SETTINGS, HOST_SETTINGS, overridesOf } from './settings.js';
import { defaultUri } from './uri.js';
import { ConfigError, readText, readYaml } from './yaml.js';

export { ConfigError };

/** All settings of a coordinator, as read from a file and the command line, or made from {@link defaultConfig}. */
export interface Config extends PolicyConfig {
  /** What a clean stop leaves the guests with: the sizes that they have, or those that they had before memcoord came. */
  readonly onExit: 'keep' | 'restore';
  /** libvirt connection URI. */
  readonly uri: string;
  /** Globs of guests' names to coordinate; empty = all. */
  readonly include: readonly string[];
  /** Globs of guests' names to leave alone; wins over `include`. */
  readonly exclude: readonly string[];
  /** Settings by globs of guests' names; later entries win, key by key. */
  readonly guests: readonly { readonly match: string; readonly settings: GuestOverrides }[];
}

/** The default settings. The URI is libvirt's own default ($LIBVIRT_DEFAULT_URI, uri_default, qemu:///system). */
export function defaultConfig(): Config {
  return {
    uri: defaultUri(),
    intervalMs: 1000,
    pool: null,
    reserve: null,
    signal: 'usable',
    surplus: 'host',
    burstKiBs: 200 * MiB,
    samplingBudget: 0.05,
    bootRestMs: 120_000,
    onExit: 'keep',
    include: [],
    exclude: [],
    guests: [],
  };
}

export const GUEST_KEYS = ['match', ...Object.keys(GUEST_SETTINGS)];
export const HOST_KEYS = [...Object.keys(HOST_SETTINGS), 'guests'];

const guestEntry = z
  .strictObject({ ...z.object(GUEST_SETTINGS).partial().shape, match: GLOB }, 'must be a mapping with the key match')
  .refine(({ min, max }) => min === undefined || max === undefined || !isMore(min, max), {
    message: 'must not be more than max',
    path: ['min'],
  });

/** A configuration file. */
export const settingsSchema = z
  .strictObject(
    { ...HOST_SETTINGS, guests: z.array(guestEntry, 'must be a list of mappings, each with the key match') },
    'must be a mapping',
  )
  .partial();

/** Settings of a file or a command line, parsed: the input of {@link withSettings}. */
export type Settings = z.infer<typeof settingsSchema>;

/** Overrides `config` with what is set. */
export function withSettings(config: Config, settings: Settings): Config {
  return {
    uri: settings.connect ?? config.uri,
    intervalMs: settings.interval ?? config.intervalMs,
    pool: settings.pool ?? config.pool,
    reserve: settings.reserve ?? config.reserve,
    signal: settings.signal ?? config.signal,
    surplus: settings.surplus ?? config.surplus,
    burstKiBs: settings.burst ?? config.burstKiBs,
    samplingBudget: settings['sampling-budget'] ?? config.samplingBudget,
    bootRestMs: settings['boot-rest'] ?? config.bootRestMs,
    onExit: settings['on-exit'] ?? config.onExit,
    include: settings.include ?? config.include,
    exclude: settings.exclude ?? config.exclude,
    guests: settings.guests?.map(({ match, ...rest }) => ({ match, settings: overridesOf(rest) })) ?? config.guests,
  };
}

/**
 * Reads a configuration file over the defaults.
 *
 * @param mayBeEmpty false: an empty file is refused, since it may be about to be saved. `{}` stands for all defaults.
 * @throws ConfigError (`ERR_MEMCOORD_CONFIG`) with one line for each error.
 */
export async function loadConfig(path: string, mayBeEmpty = true): Promise<Config> {
  return parseConfig(await readText(path), path, mayBeEmpty);
}

/** {@link loadConfig} of a text; `file` is its name in messages. */
export function parseConfig(text: string, file: string, mayBeEmpty = true): Config {
  const settings = readYaml(text, file, settingsSchema, (path) => (path.length === 0 ? HOST_KEYS : GUEST_KEYS), mayBeEmpty);
  return withSettings(defaultConfig(), settings);
}

/** What the configuration sets for a guest. */
export function guestOverrides(config: Config, name: string): GuestOverrides {
  const { guests } = matchersOf(config);
  return Object.assign({}, ...config.guests.filter((_, i) => guests[i]?.(name)).map(({ settings }) => settings));
}

/** Whether a guest is to be coordinated, as far as `include` and `exclude` go. */
export function isIncluded(config: Config, name: string): boolean {
  const { include, exclude } = matchersOf(config);
  const named = (matchers: readonly Matcher[]): boolean => matchers.some((matches) => matches(name));
  return (include.length === 0 || named(include)) && !named(exclude);
}

type Matcher = (name: string) => boolean;
type Matchers = Readonly<Record<'guests' | 'include' | 'exclude', readonly Matcher[]>>;

/** The globs of each configuration, compiled once: a thousand guests and as many globs would take seconds. */
const compiled = new WeakMap<Config, Matchers>();

function matchersOf(config: Config): Matchers {
  const known = compiled.get(config);
  if (known !== undefined) return known;
  const matchers = {
    guests: config.guests.map(({ match }) => globMatcher(match)),
    include: config.include.map(globMatcher),
    exclude: config.exclude.map(globMatcher),
  };
  compiled.set(config, matchers);
  return matchers;
}
