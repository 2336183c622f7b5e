/** What the commands share: a configuration from options, a connection from a URI, a virsh command about a guest. */
import { stat } from 'node:fs/promises';
import { printable, shellQuoted } from '../common/text.js';
import { type Config, defaultConfig, loadConfig, type Settings, withSettings } from '../config/config.js';
import { HOST_SETTINGS, readSetting } from '../config/settings.js';
import type { Hypervisor } from '../hypervisor.js';
import { UnreachableError, UsageError } from './failure.js';

/** Opens a connection. Commands take one as a parameter, so that tests can pass a simulated host. */
export type Connect = (uri: string, options: { readonly readOnly: boolean }) => Promise<Hypervisor>;

/** Options as commander passes them: those of HOST_SETTINGS, in its spelling, and `config`. */
export type Options = Readonly<Partial<Record<Exclude<keyof typeof HOST_SETTINGS, 'on-exit'> | 'onExit' | 'config', unknown>>>;

/** Connects with the addon, which is loaded here and not before. */
export const connectLibvirt: Connect = async (uri, options) => {
  try {
    const { openLibvirt } = await import('../libvirt/hypervisor.js');
    return await openLibvirt(uri, options);
  } catch (error) {
    throw new UnreachableError(uri, error);
  }
};

/**
 * Makes the configuration: the command line over the file that it names over the defaults.
 *
 * @param mayBeEmpty as in loadConfig
 * @throws UsageError, ConfigError
 */
export async function configFrom(options: Options, mayBeEmpty = true): Promise<Config> {
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(HOST_SETTINGS)) {
    const value = options[camelCase(name) as keyof Options];
    if (value !== undefined) settings[name] = optionValue(`--${name}`, readSetting<unknown>(setting, value));
  }
  const base = options.config === undefined ? defaultConfig() : await loadConfig(String(options.config), mayBeEmpty);
  return withSettings(base, settings as Settings);
}

/** Commander names `--on-exit` onExit. */
function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * A recording must not overwrite the file that was read.
 *
 * @throws UsageError if both names are of one file
 */
export async function keepInput(record: string | undefined, input: string | undefined): Promise<void> {
  if (record === undefined || input === undefined) return;
  const [to, from] = await Promise.all([record, input].map((path) => stat(path).catch(() => null)));
  if (to != null && from != null && to.dev === from.dev && to.ino === from.ino)
    throw new UsageError(`option --record: ${printable(record)} is the input file and would be overwritten: name another`);
}

/** The value of an option, or a UsageError that names it. */
export function optionValue<T>(option: string, read: { readonly value: T } | { readonly problem: string }): T {
  if ('problem' in read) throw new UsageError(`option ${option}: ${read.problem}`);
  return read.value;
}

/** A virsh command that a person can paste into a shell. */
export function virsh(uri: string, ...words: readonly string[]): string {
  return ['virsh', '-c', uri, ...words].map(shellQuoted).join(' ');
}

/** Names in the order that people count: aos_vm2 before aos_vm10. */
export function byName<T extends { readonly name: string }>(guests: readonly T[]): T[] {
  const { compare } = new Intl.Collator('en', { numeric: true });
  return [...guests].sort((a, b) => compare(a.name, b.name));
}

/** A deadline for one-shot readings, ms: longer than any healthy answer. */
export const READING_DEADLINE_MS = 3000;

/** Data goes to stdout; logs, hints and errors to stderr. */
export function printOut(text: string): void {
  process.stdout.write(`${text}\n`);
}
