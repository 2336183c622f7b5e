/**
 * Globs of guests' names: `*` is any letters, `?` one, `[a-z]` and `[!a-z]` one of a set, `{web,db}` one of several texts, and a `\` takes
 * the letter after it as it is. A name is no path: a leading dot and a slash are letters like others.
 */
import { printable } from '../common/text.js';

/** Texts that the braces of one glob may stand for. */
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

/** A glob of one name, to be typed: what cannot be shown may be any letter. */
export function globOf(name: string): string {
  return name.replace(/[^\w.-]/gu, (letter) => (printable(letter) === letter ? `\\${letter}` : '?'));
}

/** The globs that one with braces stands for. The last brace that opens has none within. */
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
 * What stands between two stars is taken where it is found first, and that is never gone back on: it stands in a lookahead. So the time
 * does not multiply with each star.
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
