import fc from 'fast-check';
import t from 'tap';
import { defaultConfig } from '../lib/config.js';
import { Coordinator } from '../lib/coordinator.js';
import { fromLine, type RecordedLook, replay } from '../lib/recording.js';
import { SimHost } from '../lib/sim/host.js';
import { GiB, MiB } from '../lib/units.js';

const config = { ...defaultConfig(), poolKiB: 2 * GiB };

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
  coordinator.on('record', (look) => lines.push(JSON.stringify({ kind: 'look', ...look })));
  await coordinator.start();
  await host.pass(10_000);
  coordinator.reconfigure({ ...config, poolKiB: 3 * GiB });
  await host.pass(10_000);
  const stopped = coordinator.stop();
  await host.pass(5000);
  await stopped;
  return lines;
}

const looksOf = (lines: readonly string[]): RecordedLook[] => lines.map(fromLine).filter((look) => look !== null);

t.test('a recording gives the same moves again, the changed configuration included', async (t) => {
  const looks = looksOf(await recorded());
  const { moves, differences } = replay(looks, defaultConfig());
  t.same(differences, []);
  t.ok(moves > 5, `${moves} moves`);
  t.equal(looks.filter(({ config }) => config !== undefined).length, 2, 'it is written where it changes');
});

t.test('a recording that was tampered with is told, look by look', async (t) => {
  const looks = looksOf(await recorded());
  const at = looks.findIndex(({ moves }) => moves.length > 0);
  const look = looks[at] as RecordedLook;
  looks[at] = { ...look, moves: look.moves.map((move) => ({ ...move, to: move.to + 4 })) };
  t.match(replay(looks, defaultConfig()).differences, [{ at: look.look.at }]);
});

t.test('a header is no look; what is no line of a recording is refused with the place', async (t) => {
  t.equal(fromLine('{"kind":"header"}'), null);
  const [line = ''] = await recorded();
  t.throws(() => fromLine('{"half'), { code: 'ERR_MEMCOORD_RECORDING', message: /not JSON/ });
  t.throws(() => fromLine('[]'), { code: 'ERR_MEMCOORD_RECORDING' });
  t.throws(() => fromLine(JSON.stringify({ ...JSON.parse(line), figures: [1] })), { message: /figures: must be 18 for each guest/ });
  t.throws(() => fromLine(JSON.stringify({ ...JSON.parse(line), at: 'now' })), { message: /^at: / });
});

t.test('whatever a line is, it is read or refused', async (t) => {
  const [line = ''] = await recorded();
  const keys = Object.keys(JSON.parse(line));
  fc.assert(
    fc.property(fc.constantFrom(...keys), fc.jsonValue(), (key, value) => {
      try {
        fromLine(JSON.stringify({ ...JSON.parse(line), [key]: value }));
        return true;
      } catch (error) {
        return (error as { code?: string }).code === 'ERR_MEMCOORD_RECORDING';
      }
    }),
    { numRuns: 500 },
  );
  t.pass('no other error');
});
