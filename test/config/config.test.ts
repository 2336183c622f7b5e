import { join } from 'node:path';
import t from 'tap';
import { ConfigError, defaultConfig, guestOverrides, isIncluded, loadConfig, parseConfig, withSettings } from '../../lib/config/config.js';
import { defaultUri } from '../../lib/config/uri.js';

const MiB = 1024;
const GiB = 1024 * MiB;

/** The message of the error that a text gives. */
function complaint(text: string): string {
  try {
    parseConfig(text, 'f.yaml');
  } catch (error) {
    if (error instanceof ConfigError && error.code === 'ERR_MEMCOORD_CONFIG') return error.message;
    throw error;
  }
  return 'no error';
}

t.test('a file with every setting is read over the defaults', async (t) => {
  const directory = t.testdir({
    'memcoord.yaml': `
connect: qemu:///session
interval: 0.5
pool: 8GiB
reserve: 1 GiB
signal: unused
surplus: guests
burst: 100MiB/s
boot-rest: 90s
sampling-budget: 2.5%
on-exit: restore
include: [web-*, db-1]
exclude: ["*-test"]
guests:
  - match: db-*
    min: 1GiB
    max: 4GiB
    share: 2000
    signal: usable
    manage: no
    boot-rest: 0
`,
  });
  t.strictSame(await loadConfig(join(directory, 'memcoord.yaml')), {
    uri: 'qemu:///session',
    intervalMs: 500,
    pool: 8 * GiB,
    reserve: GiB,
    signal: 'unused',
    surplus: 'guests',
    burstKiBs: 100 * MiB,
    samplingBudget: 0.025,
    bootRestMs: 90_000,
    onExit: 'restore',
    include: ['web-*', 'db-1'],
    exclude: ['*-test'],
    guests: [{ match: 'db-*', settings: { min: GiB, max: 4 * GiB, share: 2000, signal: 'usable', manage: false, bootRestMs: 0 } }],
  });
});

t.test('sizes of the host and of a guest may be parts in percent', async (t) => {
  const { pool, reserve, guests } = parseConfig(
    'pool: 80%\nreserve: 2.5 %\nguests: [{ match: a, min: 25%, max: 6GB }, { match: b, max: 100% }]',
    'f.yaml',
  );
  t.strictSame({ pool, reserve }, { pool: { percent: 80 }, reserve: { percent: 2.5 } });
  t.strictSame(
    guests.map(({ settings }) => settings),
    [{ min: { percent: 25 }, max: 5_859_375 }, { max: { percent: 100 } }],
  );
});

t.test('an empty file leaves the defaults, unless it may be half saved', async (t) => {
  t.strictSame(parseConfig('', 'f.yaml'), defaultConfig());
  t.strictSame(parseConfig('# nothing\n', 'f.yaml'), defaultConfig());
  for (const empty of ['', '\n', '# nothing\n', '---\n', '~'])
    t.throws(() => parseConfig(empty, 'f.yaml', false), { code: 'ERR_MEMCOORD_CONFIG', message: /^f\.yaml: is empty/ });
  t.strictSame(parseConfig('{}', 'f.yaml', false), defaultConfig(), 'one that says so');
});

t.test("the default URI is LIBVIRT_DEFAULT_URI, else libvirt's own", async (t) => {
  t.intercept(process, 'env', { value: { ...process.env, LIBVIRT_DEFAULT_URI: 'test:///default' } });
  t.equal(defaultConfig().uri, 'test:///default');
  t.intercept(process, 'env', { value: { ...process.env, LIBVIRT_DEFAULT_URI: '' } });
  t.equal(defaultConfig().uri, defaultUri({}));
});

t.test('settings of the command line win over those of a file', async (t) => {
  const file = parseConfig('pool: 8GiB\ninterval: 3', 'f.yaml');
  const both = withSettings(file, { pool: GiB });
  t.equal(both.pool, GiB);
  t.equal(both.intervalMs, 3000);
});

t.test('an error names file, line, setting and what is allowed', async (t) => {
  const cases: [text: string, message: string][] = [
    ['\npool: 8', "f.yaml:2: pool: '8' is not a size: write a number with a unit, such as 512MiB or 4GiB (KiB, MiB, GiB, TiB)"],
    ['pool: 0MiB', "f.yaml:1: pool: '0MiB': must be more than 0"],
    ['reserve: 100MiB', "f.yaml:1: reserve: '100MiB' is too little: a host keeps 200MiB at least"],
    ['interval: 0', "f.yaml:1: interval: '0' is not a time in seconds from 0.1 to 3600"],
    ['interval: 3601', "f.yaml:1: interval: '3601' is not a time in seconds from 0.1 to 3600"],
    ['pool: 0%', "f.yaml:1: pool: '0%': must be more than 0"],
    ['pool: 101%', "f.yaml:1: pool: '101%' is more than all there is: write a percentage up to 100%"],
    ['boot-rest: -1', "f.yaml:1: boot-rest: '-1' is not a time in seconds from 0 to 3600"],
    ['boot-rest: 2min', "f.yaml:1: boot-rest: '2min' is not a time in seconds from 0 to 3600"],
    ['guests:\n  - match: a\n    min: 50%\n    max: 25%', 'f.yaml:3: guests[0].min: must not be more than max'],
    ['signal: free', "f.yaml:1: signal: 'free' is not one of: usable, unused"],
    ['surplus: nobody', "f.yaml:1: surplus: 'nobody' is not one of: host, guests"],
    ['burst: 200MiB', "f.yaml:1: burst: '200MiB' is not a rate: write a size per second, such as 200MiB/s"],
    ['burst: fast/s', "f.yaml:1: burst: 'fast' is not a size: write a number with a unit, such as 512MiB or 4GiB (KiB, MiB, GiB, TiB)"],
    ['sampling-budget: 0.05', "f.yaml:1: sampling-budget: '0.05' is not a percentage from 0% to 100% (of one core)"],
    ['sampling-budget: 101%', "f.yaml:1: sampling-budget: '101%' is not a percentage from 0% to 100% (of one core)"],
    ['include: web', 'f.yaml:1: include: must be a list of names or globs'],
    ['include:\n  - 7', 'f.yaml:2: include[0]: must be text'],
    ['connect: ""', 'f.yaml:1: connect: must not be empty'],
    ['guests: {}', 'f.yaml:1: guests: must be a list of mappings, each with the key match'],
    ['guests:\n  - a', 'f.yaml:2: guests[0]: must be a mapping with the key match'],
    ['guests:\n  - share: 1', 'f.yaml:2: guests[0].match: is missing'],
    [
      'guests:\n  - match: a\n    share: 0',
      "f.yaml:3: guests[0].share: '0' is not a share: a whole number from 1 to 1000000 (1000 is the default)",
    ],
    ['guests:\n  - match: a\n    manage: maybe', "f.yaml:3: guests[0].manage: 'maybe' is not one of: yes, no"],
    ['guests:\n  - match: a\n    min: 2GiB\n    max: 1GiB', 'f.yaml:3: guests[0].min: must not be more than max'],
    ['- pool', 'f.yaml:1: the file: must be a mapping'],
  ];
  for (const [text, message] of cases) t.equal(complaint(text), message, JSON.stringify(text));
});

t.test('an unknown key is an error, with the key that was meant where that is plain', async (t) => {
  t.equal(complaint('interval: 1\npol: 8GiB'), "f.yaml:2: pol: no such setting, did you mean 'pool'?");
  t.match(complaint('colour: red'), /^f\.yaml:1: colour: no such setting; known: connect, interval, pool, .*guests$/);
  t.equal(complaint('guests:\n  - match: a\n    shares: 1'), "f.yaml:3: guests[0].shares: no such setting, did you mean 'share'?");
});

t.test('all that is wrong is told at once', async (t) => {
  t.strictSame(complaint('pool: x\nsampling-budget: 7\nfoo: 1').split('\n').length, 3);
});

t.test('what is not YAML is told with its line', async (t) => {
  t.match(complaint('pool: 8GiB\npool: 4GiB'), /^f\.yaml:2: not YAML: Map keys must be unique/);
  t.match(complaint('a: [1'), /^f\.yaml:1: not YAML: /);
  t.match(complaint('exclude:\n  - *-test'), /^f\.yaml: not YAML: .*alias/i);
  t.match(complaint('pool: 8GiB\n---\npool: 4GiB'), /not YAML: .*multiple documents/);
  t.match(complaint('pool: !size 8GiB'), /^f\.yaml:1: not YAML: Unresolved tag/);
});

t.test('aliases that multiply are refused', async (t) => {
  const levels = ['a: &a [x, x, x, x, x, x, x, x, x]'];
  for (let level = 98; level < 105; level++) {
    const [before, name] = [String.fromCharCode(level - 1), String.fromCharCode(level)];
    levels.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`);
  }
  t.match(complaint(levels.join('\n')), /not YAML: .*alias/i);
});

t.test('a file that cannot be read is named', async (t) => {
  await t.rejects(loadConfig('/nonexistent/f.yaml'), { code: 'ERR_MEMCOORD_CONFIG', message: /^\/nonexistent\/f\.yaml: cannot be read: / });
});

t.test('settings of a guest come from all entries that match, the later ones winning key by key', async (t) => {
  const config = parseConfig(
    'guests:\n  - {match: "*", min: 300MiB, share: 500}\n  - {match: db-*, min: 1GiB}\n  - {match: "{db,web}-1", share: 3000}\n',
    'f.yaml',
  );
  t.strictSame(guestOverrides(config, 'db-1'), { min: GiB, share: 3000 });
  t.strictSame(guestOverrides(config, 'db-2'), { min: GiB, share: 500 });
  t.strictSame(guestOverrides(config, 'other'), { min: 300 * MiB, share: 500 });
  t.strictSame(guestOverrides(defaultConfig(), 'other'), {});
});

t.test('globs take a name as a name, not as a path', async (t) => {
  const only = (include: string[], exclude: string[] = []): ((name: string) => boolean) => {
    const config = { ...defaultConfig(), include, exclude };
    return (name) => isIncluded(config, name);
  };
  t.ok(only([])('anything'), 'nothing included means all');
  t.ok(only(['*'])('.hidden'));
  t.ok(only(['a*c'])('a/b/c'));
  t.notOk(only(['web-?'])('web-10'));
  t.ok(only(['!odd'])('!odd'), 'an exclamation mark is a letter');
  t.notOk(only(['!odd'])('other'));
  t.notOk(only(['web-*'], ['web-1'])('web-1'), 'exclude wins over include');
});

t.test("a configuration's globs are compiled once, not for each guest", async (t) => {
  const names = Array.from({ length: 100 }, (_, i) => `guest${i}`);
  const guests = Array.from({ length: 1000 }, (_, i) => ({ match: `*${i}{a,b}`, settings: { share: 1 } }));
  const config = { ...defaultConfig(), guests };
  const timeOf = (configOf: () => typeof config) => {
    const startedAt = performance.now();
    for (const name of names) guestOverrides(configOf(), name);
    return performance.now() - startedAt;
  };
  const anew = timeOf(() => ({ ...config }));
  const once = timeOf(() => config);
  t.ok(3 * once < anew, `${Math.round(once)} ms, ${Math.round(anew)} ms if they are compiled for each`);
});
