import { readdirSync } from 'node:fs';
import { link, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import t from 'tap';
import { simulate } from '../../lib/cli/simulate.js';
import { defaultConfig } from '../../lib/config/config.js';
import { fromLine, replay } from '../../lib/coordinator/recording.js';
import { collected } from './simulated.js';

const folder = 'docs/scenarios';

for (const file of readdirSync(folder))
  t.test(`${file} holds every invariant`, async (t) => {
    const out = collected();
    t.equal(await simulate(join(folder, file), {}, out.print), 0, out.text());
    t.match(out.text(), /seconds? simulated|s simulated with seed/);
    t.notMatch(out.text(), /VIOLATED/);
  });

t.test('the same file and seed give the same result, another seed another', async (t) => {
  const result = async (seed: string) => {
    const out = collected();
    await simulate(join(folder, 'faults.yaml'), { seed, json: true }, out.print);
    return out.text();
  };
  const first = await result('3');
  t.equal(await result('3'), first);
  t.not(await result('4'), first);
});

t.test('a recording of a simulation gives the same moves again', async (t) => {
  const path = join(t.testdir(), 'record.jsonl');
  await simulate(join(folder, 'faults.yaml'), { record: path }, () => {});
  const samples = (await readFile(path, 'utf8')).trim().split('\n').map(fromLine);
  const { differences, moves } = replay(
    samples.filter((sample) => sample !== null),
    defaultConfig(),
  );
  t.same(differences, []);
  t.ok(moves > 20, `${moves} moves`);
});

t.test("guests' names are shown in one line each", async (t) => {
  const file = join(t.testdir({ 's.yaml': 'duration: 5\nguests: [{ name: "a\\e[31m\\nb", max: 1GiB }]\n' }), 's.yaml');
  const out = collected();
  await simulate(file, {}, out.print);
  t.match(out.text(), /^a\?\[31m\?b +\d+ /m);
});

t.test('a recording is not written over the scenario, by whatever name', async (t) => {
  const text = 'duration: 1\nguests: [{ name: a, max: 1GiB }]\n';
  const folder = t.testdir({ 's.yaml': text });
  const file = join(folder, 's.yaml');
  await link(file, join(folder, 'linked'));
  for (const record of [file, relative('.', file), join(folder, 'linked')])
    await t.rejects(
      simulate(file, { record }, () => {}),
      { code: 'ERR_MEMCOORD_USAGE', message: /^option --record: .* is the input file/ },
    );
  t.equal(await readFile(file, 'utf8'), text);
});

t.test('bad use is told', async (t) => {
  await t.rejects(simulate('nowhere.yaml', {}), { code: 'ERR_MEMCOORD_CONFIG', message: /nowhere\.yaml: cannot be read/ });
  await t.rejects(simulate(join(folder, 'faults.yaml'), { seed: 'x' }), { code: 'ERR_MEMCOORD_USAGE', message: /--seed/ });
});
