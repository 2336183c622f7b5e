/** Reads YAML by a schema, and reports each error with its line. */
import { isMap, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { readFileOf } from '../common/file.js';
import { messageOf } from '../common/text.js';
import { clipped, didYouMean } from './settings.js';

/** A value that is not allowed. The message names the file or option, the line, the setting and what is allowed. */
export class ConfigError extends Error {
  readonly code = 'ERR_MEMCOORD_CONFIG';
  override readonly name = 'ConfigError';
}

/** Characters: settings for a thousand guests take half. A longer text is another file, and parsing is quadratic in its keys. */
const LONGEST_FILE = 64_000;

/** What LONGEST_FILE takes in UTF-8. */
const MOST_BYTES = 3 * LONGEST_FILE;

/** Nobody fixes more at once. */
const MOST_COMPLAINTS = 20;

/** @throws ConfigError if it cannot be read or is not a regular file. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFileOf(path, MOST_BYTES);
  } catch (error) {
    throw new ConfigError(`${path}: cannot be read: ${messageOf(error)}`);
  }
}

/**
 * @param file its name in messages
 * @param keys the keys that are allowed in a mapping, by its path
 * @param mayBeEmpty false: a text that says nothing, not even `{}`, is refused
 * @throws ConfigError (`ERR_MEMCOORD_CONFIG`) with one line for each error
 */
export function readYaml<T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
  keys: (path: readonly PropertyKey[]) => readonly string[],
  mayBeEmpty = true,
): T {
  if (text.length > LONGEST_FILE) throw new ConfigError(`${file}: more than ${LONGEST_FILE} characters: not a configuration`);
  const lines = new LineCounter();
  const document = asYaml(file, () => parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' }));
  const flaw = document.errors[0] ?? document.warnings[0];
  if (flaw !== undefined) throw new ConfigError(`${file}:${lines.linePos(flaw.pos[0]).line}: not YAML: ${clipped(flaw.message, 200)}`);
  const value: unknown = asYaml(file, () => document.toJS());
  if (value == null && !mayBeEmpty) throw new ConfigError(`${file}: is empty, as while it is saved; {} stands for all defaults`);
  const read = schema.safeParse(value ?? {});
  if (read.success) return read.data;
  const at = (offset: number | undefined): string => (offset === undefined ? file : `${file}:${lines.linePos(offset).line}`);
  const complaints = read.error.issues.flatMap((issue) => {
    const node = document.getIn(issue.path, true) as Node | undefined;
    if (issue.code === 'unrecognized_keys') {
      const known = keys(issue.path);
      return issue.keys.slice(0, MOST_COMPLAINTS + 1).map((key) => {
        const hint = didYouMean(clipped(key), known) || `; known: ${known.join(', ')}`;
        return `${at(keyOffset(node, key))}: ${where([...issue.path, clipped(key)])}: no such setting${hint}`;
      });
    }
    const offset = node?.range?.[0] ?? (document.getIn(issue.path.slice(0, -1), true) as Node | undefined)?.range?.[0];
    const message = issue.code === 'invalid_type' && node === undefined ? 'is missing' : issue.message;
    return [`${at(offset)}: ${where(issue.path) || 'the file'}: ${message}`];
  });
  if (complaints.length > MOST_COMPLAINTS) complaints.splice(MOST_COMPLAINTS, Number.POSITIVE_INFINITY, `${file}: and more`);
  throw new ConfigError(complaints.join('\n'));
}

/** `guests[0].max` */
function where(keys: readonly PropertyKey[]): string {
  return keys
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}

/** @throws ConfigError if the parser gives up: aliases expand without bound, or nested lists overflow its stack. */
function asYaml<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new ConfigError(`${file}: not YAML: ${clipped(messageOf(error), 200)}`);
  }
}

function keyOffset(node: unknown, key: string): number | undefined {
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}
