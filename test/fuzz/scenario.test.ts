import fc from 'fast-check';
import t from 'tap';
import { stringify } from 'yaml';
import { ConfigError } from '../../lib/config/config.js';
import { FIGURES } from '../../lib/sim/figures.js';
import { GUEST_EVENTS, HOST_EVENTS, parseScenario, type Scenario, SHORT_FORMS } from '../../lib/sim/scenario.js';
import { simulate } from '../../lib/sim/simulate.js';
import { hostileText, isOneLine, PATIENCE_MS, timed } from './hostile.js';

/** Simulated time that is enough for what a first sample, moves and a few events may come upon, ms. */
const A_WHILE = 5000;

/** A complaint and its place; what is missing altogether and what has no end has no line. */
const PLACED = /^s\.yaml(:\d+: .|: (guests: is missing|and more)$)/;
/** The same of any text: a key that is no word has no line either. */
const ANY = /^s\.yaml(:\d+)?: ./;

/** What a text is read as: a scenario that ends, complaints of one line each, or what must not be. */
function readingOf(text: string, complaint: RegExp): Scenario | 'refused' | 'wrong' {
  try {
    const scenario = parseScenario(text, 's.yaml');
    return scenario.duration >= 0 && scenario.duration <= 86_400_000 && scenario.guests.length <= 1000 ? scenario : 'wrong';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.message.split('\n');
    const sound = lines.length <= 21 && lines.every((line) => complaint.test(line) && isOneLine(line) && line.length < 400);
    return sound ? 'refused' : 'wrong';
  }
}

const odd = fc.oneof(
  fc.constantFrom('9007199254740991KiB', '1KiB', '0MiB', '1KiB/s', '1e400', '-1GiB', '99999999999999999999TiB', '.inf', '.nan', '~', ''),
  fc.constantFrom<unknown>(0, -1, 1e308, 86_400, 86_401, 0.001, true, null, [], {}, '__proto__', '<<'),
  hostileText,
  fc.double(),
);
/** Mostly what is allowed. */
const often = <T>(allowed: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 60, arbitrary: allowed }, { weight: 1, arbitrary: odd });
const size = often(fc.constantFrom('1KiB', '100MiB', '512MiB', '1GiB'));
const large = often(fc.constantFrom('1GiB', '8TiB', '9007199254740991KiB'));
const rate = often(fc.constantFrom('1KiB/s', '50MiB/s', '9007199254740991KiB/s'));
const second = often(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom(0.001, 86_400)));
const yesNo = often(fc.constantFrom('yes', 'no'));
const some = <T>(all: Record<string, fc.Arbitrary<T>>, ...required: string[]) =>
  fc.record(all, { requiredKeys: required, noNullPrototype: true });
const waypoints = often(fc.array(some<unknown>({ at: second, size, rate }, 'at', 'size'), { maxLength: 3 }));

const guest = some<unknown>(
  {
    name: often(
      fc.oneof(
        fc.constantFrom('b', 'c', 'd'),
        hostileText.filter((name) => name !== ''),
      ),
    ),
    max: large,
    count: often(fc.constantFrom(1, 2, 1000)),
    size,
    uses: fc.oneof(size, large),
    eats: waypoints,
    tmpfs: waypoints,
    cache: waypoints,
    repeat: often(fc.integer({ min: 1, max: 5 })),
    noise: fc.oneof(size, large),
    hot: fc.oneof(size, large),
    swap: fc.oneof(size, large),
    speed: rate,
    limit: fc.oneof(size, large),
    figures: often(fc.constantFrom(...FIGURES, ...SHORT_FORMS)),
    backing: often(fc.constantFrom('hugetlb', 'file')),
    nvdimm: fc.oneof(size, large),
    'virtio-mem': fc.oneof(size, large),
    'hard-limit': fc.oneof(size, large),
    most: fc.oneof(size, large),
    driver: yesNo,
    autodeflate: yesNo,
    starts: second,
    stops: second,
  },
  'name',
  'max',
);
const BY_SIZE = ['set', 'eat'];
const AT_ONCE = ['reboot', 'kill', 'vfio', 'unload', 'set', 'clock'];
const event = fc
  .tuple(fc.constantFrom(...GUEST_EVENTS, ...HOST_EVENTS), second, second, size, often(fc.constantFrom(-1e9, 3600, 1e9)))
  .map(([what, at, lasts, size, by]) => ({
    do: what,
    at,
    ...((GUEST_EVENTS as readonly string[]).includes(what) ? { guest: 'a' } : {}),
    ...(AT_ONCE.includes(what) ? {} : { for: lasts }),
    ...(BY_SIZE.includes(what) ? { size } : {}),
    ...(what === 'clock' ? { by } : {}),
  }));
const document = some<unknown>(
  {
    seed: often(fc.maxSafeInteger()),
    duration: second,
    host: often(
      some<unknown>(
        { memory: large, used: size, arc: size, 'arc-min': often(fc.constant('0MiB')), hugepages: size, cgroup: large },
        'memory',
      ),
    ),
    config: often(
      some<unknown>({
        pool: size,
        interval: often(fc.constantFrom(0.1, 1, 3600)),
        burst: rate,
        'sampling-budget': often(fc.constantFrom('0%', '100%')),
      }),
    ),
    guests: often(
      fc
        .tuple(
          guest.map((each) => ({ ...each, name: 'a', count: undefined })),
          fc.array(guest, { maxLength: 2 }),
        )
        .map(([a, more]) => [a, ...more]),
    ),
    events: often(fc.array(often(event), { maxLength: 4 })),
  },
  'guests',
);

t.test('whatever is written as a scenario is refused line by line, or runs to its end', { timeout: 120_000 }, async (t) => {
  const seen = { run: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(document, async (wanted) => {
      const reading = readingOf(stringify(wanted), PLACED);
      if (typeof reading === 'string') {
        seen.refused++;
        return reading === 'refused';
      }
      const duration = Math.min(reading.duration, A_WHILE);
      const began = performance.now();
      const result = await simulate({ ...reading, guests: reading.guests.slice(0, 20), duration });
      seen.run++;
      return result.duration === duration && Number.isFinite(result.moved) && performance.now() - began < PATIENCE_MS;
    }),
    { numRuns: 400 },
  );
  t.ok(seen.run > 50 && seen.refused > 50, `${seen.run} were run, ${seen.refused} refused`);
});

t.test('any text is a scenario that ends, or is refused with complaints of one line each', async (t) => {
  const line = fc
    .tuple(
      fc.constantFrom('', '  ', '- ', '  - '),
      fc.constantFrom('guests', 'name', 'max', 'eats', 'events', 'do', 'host', 'config', '__proto__', '<<', '? '),
      fc.constantFrom(': ', ':', ': |\n  ', ': &a '),
      fc.oneof(hostileText, fc.constantFrom('1GiB', '*a', '[{ name: a, max: 1GiB }]', '{}')),
    )
    .map((parts) => parts.join(''));
  const text = fc.oneof(
    hostileText,
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(line, { maxLength: 8 }).map((lines) => lines.join('\n')),
  );
  fc.assert(
    fc.property(text, (each) => readingOf(each, ANY) !== 'wrong'),
    { numRuns: 1000 },
  );
  t.pass('1000 texts');
});

for (const [what, text] of [
  ['the largest guest', 'guests: [{ name: a, max: 9007199254740991KiB }]'],
  ['the slowest balloon', 'guests: [{ name: a, max: 1GiB, speed: 1KiB/s }]'],
  ['the slowest program', 'guests: [{ name: a, max: 1GiB, eats: [{ at: 0, size: 1GiB, rate: 1KiB/s }] }]'],
] as const)
  t.test(`${what}: it ends within a day`, async (t) => {
    t.match(parseScenario(text, 's.yaml'), { duration: 86_400_000 });
  });

for (const [what, text] of [
  ['many guests', `guests: [${Array.from({ length: 1000 }, (_, i) => `{ name: a${i}, max: 1GiB, count: 1000 }`).join(', ')}]`],
  ['many guests of one name', `guests: [${'{ name: a, max: 1GiB },'.repeat(1000)}]`],
  ['many events', `guests: [{ name: a, max: 1GiB }]\nevents: [${'{ at: 1, do: dance },'.repeat(2000)}]`],
  ['a name of many characters', `guests: [{ name: ${'a'.repeat(60_000)}, max: 1GiB }]`],
] as const)
  t.test(`${what}: refused in no time`, async (t) => {
    const took = timed(() => t.equal(readingOf(text, PLACED), 'refused'));
    t.ok(took < PATIENCE_MS, `${took} ms`);
  });
