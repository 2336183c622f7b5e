import fc from 'fast-check';
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import { Coordinator } from '../../lib/coordinator/coordinator.js';
import { toLine } from '../../lib/coordinator/recording.js';
import { fromLine, type RecordedSample, replay } from '../../lib/index.js';
import { SimHost } from '../../lib/sim/host.js';
import { figureOf, READS, STRIDE } from '../../lib/sweep.js';
import { NOTHING_WRONG } from '../policy/world.js';

const config = { ...defaultConfig(), pool: 2 * GiB };

/** What a coordinator records of two guests, one of which eats. */
async function recorded(): Promise<string[]> {
  const host = new SimHost({
    total: 8 * GiB,
    guests: [
      { name: 'idle', maximum: 2 * GiB, current: 1 * GiB, uses: () => 150 * MiB },
      { name: 'eats', maximum: 2 * GiB, current: 512 * MiB, uses: (at) => 150 * MiB + at * 20 },
    ],
  });
  const coordinator = new Coordinator({ connect: host.connect, config, time: host.time });
  const lines: string[] = [];
  coordinator.on('record', (sample) => lines.push(JSON.stringify({ kind: 'sample', ...sample })));
  await coordinator.start();
  await host.pass(5000);
  host.start({ name: 'new', maximum: GiB, current: GiB, uses: () => 200 * MiB });
  await host.pass(5000);
  coordinator.reconfigure({ ...config, pool: 3 * GiB });
  await host.pass(10_000);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  return lines;
}

const samplesOf = (lines: readonly string[]): RecordedSample[] => lines.map(fromLine).filter((sample) => sample !== null);

t.test('a recording gives the same moves again, the changed configuration included', async (t) => {
  const samples = samplesOf(await recorded());
  const { moves, differences } = replay(samples, defaultConfig());
  t.same(differences, []);
  t.ok(moves > 5, `${moves} moves`);
  t.equal(samples.flatMap(({ sample }) => [...sample.started]).length, 1, 'the guest that was started');
  t.equal(samples.filter(({ config }) => config !== undefined).length, 2, 'it is written where it changes');
});

t.test('what guests have read from their disks is recorded, and where it is not known as well', async (t) => {
  const [first] = samplesOf(await recorded()) as [RecordedSample];
  first.sample.sweep.figures[READS] = 1234.5;
  first.sample.sweep.figures[STRIDE + READS] = Number.NaN;
  const read = fromLine(JSON.stringify({ kind: 'sample', ...toLine(first) }));
  t.same(read, first);
  t.equal(read && figureOf(read.sample.sweep, 0, READS), 1234.5);
  t.ok(read && Number.isNaN(figureOf(read.sample.sweep, 1, READS)));
});

t.test('a recording that was tampered with is reported, sample by sample', async (t) => {
  const samples = samplesOf(await recorded());
  const at = samples.findIndex(({ moves }) => moves.length > 0);
  const sample = samples[at] as RecordedSample;
  samples[at] = { ...sample, moves: sample.moves.map((move) => ({ ...move, to: move.to + 4 })) };
  t.match(replay(samples, defaultConfig()).differences, [{ at: sample.sample.at }]);
});

t.test('a header is not a sample; what is no line of a recording is refused with the place', async (t) => {
  t.equal(fromLine('{"kind":"header"}'), null);
  const [line = ''] = await recorded();
  t.throws(() => fromLine('{"half'), { code: 'ERR_MEMCOORD_RECORDING', message: /not JSON/ });
  t.throws(() => fromLine('[]'), { code: 'ERR_MEMCOORD_RECORDING' });
  t.throws(() => fromLine(JSON.stringify({ ...JSON.parse(line), figures: [1] })), { message: /figures: must be 21 for each guest/ });
  t.throws(() => fromLine(JSON.stringify({ ...JSON.parse(line), at: 'now' })), { message: /^at: / });
});

t.test('a sample without what its plan needs is refused with the place', async (t) => {
  const [line = ''] = await recorded();
  const sample = JSON.parse(line);
  const [[uuid, context]] = Object.entries<object>(sample.contexts) as [[string, object]];
  const withContext = (part: unknown) => ({ contexts: { ...sample.contexts, [uuid]: part } });
  for (const [change, place] of [
    [withContext(null), `contexts.${uuid}`],
    [withContext({ ...context, facts: {} }), `contexts.${uuid}.facts.maximum`],
    [withContext({ ...context, overrides: null }), `contexts.${uuid}.overrides`],
    [withContext({ ...context, remembered: { original: 1 } }), `contexts.${uuid}.remembered.target`],
    [{ config: {} }, 'config.uri'],
    [{ moves: [{ uuid }] }, 'moves.0.name'],
  ] as const)
    t.throws(() => fromLine(JSON.stringify({ ...sample, ...change })), {
      code: 'ERR_MEMCOORD_RECORDING',
      message: new RegExp(`^${place.replaceAll('.', '\\.')}: `),
    });
});

/** `value` with `other` in the place that the numbers lead to. */
function changed(value: unknown, [first, ...rest]: readonly number[], other: unknown): unknown {
  if (first === undefined || typeof value !== 'object' || value === null) return other;
  const keys = Object.keys(value);
  const key = keys[first % keys.length];
  if (key === undefined) return other;
  const part = changed((value as Record<string, unknown>)[key], rest, other);
  return Array.isArray(value) ? value.with(Number(key), part) : { ...value, [key]: part };
}

t.test('whatever is changed in a recording, it is planned again or refused', async (t) => {
  const lines = (await recorded()).slice(0, 12);
  const remembered = { ...NOTHING_WRONG, original: GiB, target: GiB };
  const varied = lines.map((line) => {
    const sample = JSON.parse(line);
    const contexts = Object.entries<object>(sample.contexts).map(([uuid, each]) => [
      uuid,
      { ...each, overrides: { min: MiB }, remembered },
    ]);
    return { ...sample, contexts: Object.fromEntries(contexts) };
  });
  t.equal(replay(samplesOf(varied.map((sample) => JSON.stringify(sample))), config).samples, lines.length);
  const seen = { planned: 0, refused: 0 };
  fc.assert(
    fc.property(
      fc.nat(lines.length - 1),
      fc.array(fc.nat(), { maxLength: 5 }),
      fc.oneof(fc.jsonValue(), fc.double(), fc.integer(), fc.constant({})),
      (which, way, value) => {
        const text = varied.map((sample, i) => JSON.stringify(i === which ? changed(sample, way, value) : sample));
        try {
          replay(samplesOf(text), config);
          seen.planned++;
        } catch (error) {
          seen.refused++;
          return (error as { code?: string }).code === 'ERR_MEMCOORD_RECORDING';
        }
        return true;
      },
    ),
    { numRuns: 1000 },
  );
  t.ok(seen.planned > 50 && seen.refused > 100, `${seen.planned} planned, ${seen.refused} refused`);
});
