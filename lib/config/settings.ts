/**
 * How people write settings, and what is allowed: one place for the configuration file, the command line and a domain's metadata.
 */
import { z } from 'zod';
import { messageOf, printable } from '../common/text.js';
import { type Amount, formatSize, parseAmount, parseSize } from '../common/units.js';
import { LEAST_RESERVE } from '../policy/limits.js';
import type { GuestOverrides } from '../policy/types.js';
import { globMatcher } from './glob.js';

/** Characters; no valid setting is longer. */
const LONGEST_SETTING = 40;

/** The beginning of a text that may be long and hold anything, for one line of a message. */
export function clipped(text: string, most = LONGEST_SETTING): string {
  return printable(text.length > most ? `${text.slice(0, most)}…` : text);
}

/** A setting in text form; the error that `read` throws becomes the message. */
export function written<T>(read: (text: string) => T): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    try {
      if (typeof value === 'object' && value !== null) throw new RangeError('must be one value');
      const text = String(value ?? '');
      if (text.length > LONGEST_SETTING) throw new RangeError(`'${clipped(text)}' is too long`);
      return read(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: printable(messageOf(error)) });
      return z.NEVER;
    }
  });
}

function numberIn(text: string, pattern: RegExp, least: number, most: number, allowed: string): number {
  const match = pattern.exec(text.trim());
  const value = match?.[1] === undefined ? Number.NaN : Number(match[1]);
  if (!(value >= least && value <= most)) throw new RangeError(`'${text}' is not ${allowed}`);
  return value;
}

function oneOf<const T extends string>(...words: readonly T[]): z.ZodType<T> {
  return written((text) => {
    const word = words.find((candidate) => candidate === text.trim());
    if (word === undefined) throw new RangeError(`'${text}' is not one of: ${words.join(', ')}`);
    return word;
  });
}

/** A size with its unit, KiB. */
export const SIZE = written((text) => {
  const kib = parseSize(text);
  if (kib === 0) throw new RangeError(`'${text}': must be more than 0`);
  return kib;
});

/** A size with its unit, or a part of a whole in percent: of the host's memory, of a guest's maximum. */
const amount = written((text): Amount => {
  const amount = parseAmount(text);
  if ((typeof amount === 'number' ? amount : amount.percent) === 0) throw new RangeError(`'${text}': must be more than 0`);
  return amount;
});

/** A percentage of the host may come to less than LEAST_RESERVE, which then applies. */
const reserve = written((text): Amount => {
  const amount = parseAmount(text);
  if (typeof amount === 'number' && amount < LEAST_RESERVE)
    throw new RangeError(`'${text}' is too little: a host keeps ${formatSize(LEAST_RESERVE)} at least`);
  return amount;
});

/** Seconds, as ms. */
const seconds = (least: number, most: number) =>
  written((text) => Math.round(1000 * numberIn(text, /^(\d+(?:\.\d+)?)s?$/, least, most, `a time in seconds from ${least} to ${most}`)));

const bootRest = seconds(0, 3600);

/** `200MiB/s`, as KiB/s. */
const rate = written((text) => {
  const match = /^(.*)\/s$/.exec(text.trim());
  if (match?.[1] === undefined) throw new RangeError(`'${text}' is not a rate: write a size per second, such as 200MiB/s`);
  return parseSize(match[1]);
});

/** `5%` of one core, as a fraction. */
const percentage = written((text) => numberIn(text, /^(\d+(?:\.\d+)?)\s*%$/, 0, 100, 'a percentage from 0% to 100% (of one core)') / 100);

const share = written((text) => numberIn(text, /^(\d+)$/, 1, 1_000_000, 'a share: a whole number from 1 to 1000000 (1000 is the default)'));

const YES_NO: Readonly<Record<string, boolean>> = { yes: true, true: true, on: true, no: false, false: false, off: false };
/** YAML 1.2 reads `no` as a word, not as false; people mean the same by both. */
const yesNo = written((text) => {
  const value = YES_NO[text.trim()];
  if (value === undefined) throw new RangeError(`'${text}' is not one of: yes, no`);
  return value;
});

const text = z.string('must be text').min(1, 'must not be empty');

/** No guest's name is longer: its files are named after it. */
const LONGEST_GLOB = 255;

/** A glob of guests' names. A bad one is refused: it would match nobody, and guests to be left alone would be moved. */
export const GLOB = text
  .max(LONGEST_GLOB, { error: `must not be longer than ${LONGEST_GLOB} characters`, abort: true })
  .refine(isGlob, 'is not a glob: * ? [a-z] {web,db} make one');

function isGlob(word: string): boolean {
  try {
    globMatcher(word);
    return true;
  } catch {
    return false;
  }
}

/** Settings of one guest: {@link GuestOverrides} of the policy as people write them. */
export const GUEST_SETTINGS = {
  min: amount,
  max: amount,
  share,
  signal: oneOf('usable', 'unused'),
  manage: yesNo,
  'boot-rest': bootRest,
};

/** Makes overrides of settings. What is not set is left out: it would hide what an earlier entry set. */
export function overridesOf(settings: { readonly [name in keyof typeof GUEST_SETTINGS]?: unknown }): GuestOverrides {
  const { 'boot-rest': bootRestMs, ...rest } = settings;
  return Object.fromEntries(Object.entries({ ...rest, bootRestMs }).filter(([, value]) => value !== undefined));
}

/** Settings of the host. The configuration file's keys, and with `--` before them the command line's options. */
export const HOST_SETTINGS = {
  connect: text,
  interval: seconds(0.1, 3600),
  pool: amount,
  reserve,
  signal: oneOf('usable', 'unused'),
  surplus: oneOf('host', 'guests'),
  burst: rate,
  'boot-rest': bootRest,
  'sampling-budget': percentage,
  'on-exit': oneOf('keep', 'restore'),
  include: z.array(GLOB, 'must be a list of names or globs'),
  exclude: z.array(GLOB, 'must be a list of names or globs'),
};

/** What `value` means for a setting, or what is wrong with it. */
export function readSetting<T>(setting: z.ZodType<T>, value: unknown): { readonly value: T } | { readonly problem: string } {
  const read = setting.safeParse(value);
  return read.success ? { value: read.data } : { problem: read.error.issues[0]?.message ?? 'is not allowed' };
}

/** `, did you mean 'pool'?` where one of `known` differs from `word` by two letters at most; else nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = known.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name) })).sort((a, b) => a.distance - b.distance)[0];
  return near !== undefined && near.distance <= Math.min(2, near.name.length - 1) ? `, did you mean '${near.name}'?` : '';
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
