import fc from 'fast-check';
import t from 'tap';
import { stringify } from 'yaml';
import { type Amount, isMore } from '../../lib/common/units.js';
import { type Config, ConfigError, guestOverrides, isIncluded, parseConfig } from '../../lib/config/config.js';
import { globOf } from '../../lib/config/glob.js';
import { hostileText, isOneLine, PATIENCE_MS, timed } from './hostile.js';

/** What comes of a text: a sound configuration, complaints of one line each, or what must not be. */
function outcomeOf(text: string): 'read' | 'refused' | 'wrong' {
  let config: Config;
  try {
    config = parseConfig(text, 'f.yaml');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.message.split('\n');
    const sound = lines.length <= 21 && lines.every((line) => /^f\.yaml(:\d+)?: ./.test(line) && isOneLine(line) && line.length < 400);
    return sound ? 'refused' : 'wrong';
  }
  const { intervalMs, pool, reserve, burstKiBs, samplingBudget, guests } = config;
  const size = (amount: Amount | undefined | null) =>
    amount == null ||
    (typeof amount === 'number' ? Number.isSafeInteger(amount) && amount > 0 : amount.percent > 0 && amount.percent <= 100);
  const sound =
    intervalMs >= 100 &&
    intervalMs <= 3_600_000 &&
    size(pool) &&
    size(reserve) &&
    Number.isSafeInteger(burstKiBs) &&
    samplingBudget >= 0 &&
    samplingBudget <= 1 &&
    guests.every(
      ({ settings: { min, max, share = 1 } }) =>
        size(min) && size(max) && share >= 1 && share <= 1e6 && !(min !== undefined && max !== undefined && isMore(min, max)),
    );
  return sound ? 'read' : 'wrong';
}

/** Values as people write them, and as nobody would. */
const value = fc.oneof(
  fc.constantFrom('8GiB', '512 MiB', '5%', '100%', '200MiB/s', '0.5', '2s', 'yes', 'off', 'usable', 'guests', 'web-*', ''),
  fc.constantFrom('1e400', '-1GiB', '99999999999999999999TiB', '0x7fffffff', '.inf', '.nan', '~', '[z-a]', '__proto__', '!!binary aGk='),
  fc.constantFrom(...'{}[]&*!|>%@#,?:-\'"'),
  hostileText,
  fc.double(),
  fc.bigInt(),
);
const key = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'connect',
      'interval',
      'pool',
      'reserve',
      'signal',
      'surplus',
      'burst',
      'sampling-budget',
      'include',
      'guests',
    ),
  },
  fc.constantFrom('match', 'min', 'max', 'share', 'manage', '__proto__', 'constructor', 'toString', '<<', '"', '? '),
  hostileText,
);

t.test('any text is a sound configuration, or is refused with complaints of one line each', async (t) => {
  const line = fc.tuple(
    fc.constantFrom('', '  ', '- ', '  - ', '? '),
    key,
    fc.constantFrom(': ', ':', ' :\n  ', ': |\n  ', ': &a '),
    value,
  );
  const text = fc.oneof(
    hostileText,
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(line, { maxLength: 8 }).map((lines) => lines.map((parts) => parts.join('')).join('\n')),
  );
  const seen = { read: 0, refused: 0, wrong: 0 };
  fc.assert(
    fc.property(text, (each) => {
      const outcome = outcomeOf(each);
      seen[outcome]++;
      return outcome !== 'wrong';
    }),
    { numRuns: 1000 },
  );
  t.ok(seen.read > 20 && seen.refused > 300, `${seen.read} were read, ${seen.refused} refused`);
});

t.test('any YAML is', async (t) => {
  const setting = fc.oneof(
    value,
    fc.array(value, { maxLength: 4 }),
    fc.dictionary(key, value, { maxKeys: 4 }),
    fc.array(fc.dictionary(key, value), { maxLength: 3 }),
  );
  const document = fc.oneof(fc.dictionary(key, setting, { maxKeys: 6, noNullPrototype: true }), fc.anything({ withNullPrototype: false }));
  fc.assert(
    fc.property(document, (wanted) => {
      let text: string;
      try {
        text = stringify(wanted) ?? '';
      } catch {
        return true; // No YAML says that.
      }
      return outcomeOf(text) !== 'wrong';
    }),
    { numRuns: 400 },
  );
  t.notOk(
    ['min', 'pool', 'match'].some((setting) => setting in {}),
    'nothing was left on the prototype of all objects',
  );
});

/** Flow lists of aliases, each of the one before. */
function bomb(levels: number): string {
  const line = (_: unknown, level: number) =>
    `a${level}: &a${level} [${Array(9)
      .fill(level === 0 ? 'x' : `*a${level - 1}`)
      .join(', ')}]`;
  return Array.from({ length: levels }, line).join('\n');
}

for (const [what, text] of [
  ['aliases that multiply', bomb(30)],
  ['an alias of what it is in', 'guests: &a\n  - match: *a'],
  ['a merge of what it is in', 'a: &a\n  <<: *a'],
  ['lists in lists', '['.repeat(60_000)],
  ['mappings in mappings', '{a: '.repeat(20_000)],
  ['sequences in sequences', '- '.repeat(10_000)],
  ['a key of many characters', `${'k'.repeat(60_000)}: 1`],
  ['a value of many characters', `pool: ${'9'.repeat(60_000)}GiB`],
  ['a value of many lines', `pool: |\n${'  x\n'.repeat(15_000)}`],
  ['many unknown keys', Array.from({ length: 3_000 }, (_, i) => `key${i}: 1`).join('\n')],
  ['many bad entries', `guests: [${'7,'.repeat(10_000)}]`],
  ['a glob of many characters', `include: ["${'*a'.repeat(30_000)}"]`],
  ['a file that is longer than any configuration', 'x'.repeat(10_000_000)],
  ['keys that every object has', '__proto__: {pool: 1GiB}\nconstructor: {prototype: {pool: 1GiB}}\ntoString: x'],
  ['null bytes', 'pool: "8GiB\\0"\ninclude: ["a\\0b", "\\x1b[2J"]\nx\\0: 1'],
  ['a tag that makes something of the text', 'pool: !!js/function "function () {}"'],
  ['a glob that cannot be understood', 'exclude: ["[z-a]"]'],
] as const) {
  t.test(`${what}: refused in no time`, async (t) => {
    const took = timed(() => t.equal(outcomeOf(text), 'refused'));
    t.ok(took < PATIENCE_MS, `${took} ms`);
  });
}

t.test('whatever globs are allowed and whatever guests are called, each guest has settings', async (t) => {
  const name = fc.oneof(hostileText, fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(fc.array(name, { maxLength: 3 }), name, (globs, guest) => {
      let config: Config;
      try {
        config = parseConfig(stringify({ include: globs, guests: globs.map((match) => ({ match, share: 7 })) }), 'f.yaml');
      } catch (error) {
        return error instanceof ConfigError;
      }
      return typeof isIncluded(config, guest) === 'boolean' && [undefined, 7].includes(guestOverrides(config, guest).share);
    }),
    { numRuns: 500 },
  );
  t.pass('500 lists of globs');
});

t.test("the glob of a guest's name is of that guest, and in one line", async (t) => {
  const config = parseConfig('', 'f.yaml');
  fc.assert(
    fc.property(
      hostileText.filter((name) => name !== ''),
      (name) => {
        const include = [globOf(name)];
        return isIncluded({ ...config, include }, name) && !isIncluded({ ...config, include }, `${name}x`) && isOneLine(globOf(name));
      },
    ),
    { numRuns: 2000 },
  );
  t.equal(globOf('web-1'), 'web-1');
  t.equal(globOf('a*b'), 'a\\*b');
});
