import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { fileState } from '../../lib/coordinator/state.js';
import { hostileText } from './hostile.js';

const UUID = '634cbead-b271-4ba1-aedb-8327cb63b6ee';
const WHOLE = `{"version":3,"guests":{"${UUID}":{"id":7,"period":{"original":10,"set":1},"balloon":null}}}\n`;

/** What is read out of a file with that text, what was reported, and what was set aside. */
async function read(path: string, text: string | Buffer | null) {
  rmSync(`${path}.bad`, { force: true });
  if (text === null) rmSync(path, { force: true });
  else writeFileSync(path, text);
  const warnings: string[] = [];
  const loaded = await fileState(path, (warning) => warnings.push(warning)).load();
  return { loaded, warnings, aside: existsSync(`${path}.bad`) ? readFileSync(`${path}.bad`) : null };
}

t.test('whatever stands in the file is never fatal, and believed only where it is whole', async (t) => {
  const path = join(t.testdir(), 'host.json');
  const { loaded: nothing } = await read(path, null);
  t.notSame((await read(path, WHOLE)).loaded, nothing, 'a whole one is believed');
  const damage = fc.oneof(
    hostileText,
    fc.json(),
    fc.string({ unit: 'binary' }),
    fc.nat(WHOLE.length - 3).map((length) => WHOLE.slice(0, length)),
    fc
      .tuple(
        fc.nat(WHOLE.length - 3),
        hostileText.filter((text) => text !== ''),
      )
      .map(([at, text]) => `${WHOLE.slice(0, at)}\u0000${text}${WHOLE.slice(at)}`),
    fc
      .oneof(fc.integer({ min: 1000 }), fc.double(), fc.string(), fc.constantFrom(null, true, [1]))
      .map((version) => WHOLE.replace('3,', `${JSON.stringify(version)},`)),
    fc.constantFrom(
      WHOLE.replace('"id":7', '"id":-7'),
      WHOLE.replace('"id":7', '"id":1e400'),
      WHOLE.replace('"original":10', '"original":10.5'),
      WHOLE.replace('"set":1', '"set":1,"__proto__":{"set":2}'),
      WHOLE.replace(UUID, '../../../etc/passwd'),
      WHOLE.replace('"guests":{', '"guests":['),
      '['.repeat(100_000),
      '{"a":'.repeat(100_000),
      '1'.repeat(1_000_000),
    ),
  );
  await fc.assert(
    fc.asyncProperty(damage, async (text) => {
      const { loaded, warnings, aside } = await read(path, text);
      t.strictSame(loaded, nothing);
      return warnings.length === 1 && aside?.equals(Buffer.from(text)) === true && !existsSync(path);
    }),
    { numRuns: 400 },
  );
});

t.test('bytes that are no text are set aside like others', async (t) => {
  const path = join(t.testdir(), 'host.json');
  const { loaded: nothing } = await read(path, null);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
      const { loaded, warnings, aside } = await read(path, Buffer.from(bytes));
      t.strictSame(loaded, nothing);
      return warnings.length === 1 && aside?.equals(Buffer.from(bytes)) === true;
    }),
    { numRuns: 200 },
  );
});
