/**
 * Globs of guests' names: `*` matches any characters, `?` one, `[a-z]` and `[!a-z]` one of a set, `{web,db}` one of several texts; a `\`
 * makes the next character literal. A name is not a path: a leading dot and a slash are ordinary characters.
 */
import { printable } from '../common/text.js';

/** Most texts that the braces of one glob may expand to. */
const MOST_TEXTS = 100;
const SET = /\[([!^]?)(\][^\]]*|[^\]]+)\]/u;
const TOKENS = new RegExp(`\\\\.|${SET.source}|.`, 'gsu');

/** @throws RangeError, SyntaxError where it is not a glob. */
export function globMatcher(glob: string): (name: string) => boolean {
  const tokens: string[] = glob.match(TOKENS) ?? [];
  if (tokens.includes('[')) throw new RangeError('[ opens a set that no ] closes; \\[ is the letter');
  const patterns = withoutBraces(tokens).map(patternOf);
  return (name) => patterns.some((pattern) => pattern.test(name));
}

/** A glob for one name, to be typed: what cannot be shown becomes `?`. */
export function globOf(name: string): string {
  return name.replace(/[^\w.-]/gu, (letter) => (printable(letter) === letter ? `\\${letter}` : '?'));
}

/** Expands braces. The last opening brace has none within. */
function withoutBraces(glob: string[]): string[][] {
  const found: string[][] = [];
  const left = [glob];
  for (let tokens = left.pop(); tokens !== undefined; tokens = left.pop()) {
    const open = tokens.lastIndexOf('{');
    if (open < 0) {
      found.push(tokens);
      continue;
    }
    const close = tokens.indexOf('}', open);
    const ends = [...tokens.keys()].filter((i) => i > open && i <= close && (tokens[i] === ',' || i === close));
    if (ends.length < 2) throw new RangeError('braces are for texts with commas between them');
    for (const [i, end] of ends.entries()) {
      const text = tokens.slice((ends[i - 1] ?? open) + 1, end);
      left.push([...tokens.slice(0, open), ...text, ...tokens.slice(close + 1)]);
    }
    if (found.length + left.length > MOST_TEXTS) throw new RangeError(`braces are for ${MOST_TEXTS} texts at most`);
  }
  return found;
}

/**
 * The text between two stars matches at its first occurrence, without backtracking, since it stands in a lookahead. So the time does not
 * multiply with each star.
 */
function patternOf(tokens: readonly string[]): RegExp {
  const parts = [''];
  for (const token of tokens) {
    if (token === '*') parts.push('');
    else parts.push(parts.pop() + letterPattern(token));
  }
  const [first, ...rest] = parts;
  const last = rest.pop();
  const between = rest.map((part, i) => `(?=(.*?${part}))\\${i + 1}`).join('');
  return new RegExp(`^${first}${between}${last === undefined ? '' : `.*${last}`}$`, 'su');
}

function letterPattern(token: string): string {
  if (token === '?') return '.';
  const [, not, letters] = SET.exec(token) ?? [];
  if (letters !== undefined) return `[${not && '^'}${letters.replace(/[\\[\]^]/g, '\\$&')}]`;
  return token.replace(/^\\(?=.)/su, '').replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
}
