import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'tap';
import { fileState, type SavedGuest, sleepersPlace, statePlace, withSleepers } from '../../lib/coordinator/state.js';
import { NOTHING_WRONG } from '../policy/world.js';

const UUID = '634cbead-b271-4ba1-aedb-8327cb63b6ee';
const GUEST: SavedGuest = {
  id: 7,
  period: { original: 10, set: 1 },
  balloon: { ...NOTHING_WRONG, target: 400_000, orderedAt: 12_345.6 },
};
const GUESTS = new Map([[UUID, GUEST]]);

test('what was saved is there for the next process, and for nobody else', async (t) => {
  const path = join(t.testdir(), 'lib/host.json');
  const warnings: string[] = [];
  await fileState(path, (line) => warnings.push(line)).save(GUESTS);
  t.same(await fileState(path, (line) => warnings.push(line)).load(), GUESTS);
  t.equal(statSync(path).mode & 0o077, 0);
  t.same(warnings, []);
});

test('what is known of guests of another host outlives a boot of this machine, but for the times of a clock that has started anew', async (t) => {
  const path = join(t.testdir(), 'host.json');
  await fileState(path, () => {}, { boot: 'boot 1' }).save(GUESTS);
  t.same(await fileState(path, () => {}, { boot: 'boot 1' }).load(), GUESTS);
  const cache = { ...NOTHING_WRONG.cache, probeAfter: 0 };
  const balloon = { ...NOTHING_WRONG, target: 400_000, orderedAt: 0, shrinkAfter: 0, cache };
  for (const boot of ['boot 2', null]) t.same(await fileState(path, () => {}, { boot }).load(), new Map([[UUID, { ...GUEST, balloon }]]));
});

test('what saved guests had outlives a boot in a file of its own, and what is newer is believed', async (t) => {
  const folder = t.testdir();
  const sleepers = fileState(join(folder, 'saved.json'), (line) => t.fail(line), { boot: null });
  const state = withSleepers(
    fileState(join(folder, 'host.json'), (line) => t.fail(line)),
    sleepers,
  );
  const other = '11111111-2222-3333-4444-555555555555';
  const asleep = { ...GUEST, asleep: true } as const;
  await state.keep?.(
    new Map([
      [other, asleep],
      [UUID, asleep],
    ]),
  );
  await state.save(GUESTS);
  const loaded = await state.load();
  t.same(loaded.get(UUID), GUEST);
  t.match(loaded.get(other), { id: 0, asleep: true, period: GUEST.period, balloon: { target: 400_000, orderedAt: 0 } });
});

test('no file is no news', async (t) => {
  const warnings: string[] = [];
  t.same(await fileState(join(t.testdir(), 'none.json'), (line) => warnings.push(line)).load(), new Map());
  t.same(warnings, []);
});

test('saves that overlap end with the last one, whole', async (t) => {
  const path = join(t.testdir(), 'host.json');
  const state = fileState(path, () => {});
  await Promise.all([5, 6, 7, 8].map((original) => state.save(new Map([[UUID, { ...GUEST, period: { original, set: 1 } }]]))));
  t.equal((await state.load()).get(UUID)?.period?.original, 8);
});

test('a guest whose UUID is not RFC 4122, as libvirt takes any 128 bits, is kept like any other', async (t) => {
  const path = join(t.testdir(), 'host.json');
  const warnings: string[] = [];
  // Of libvirt's own test driver, and all zeros.
  const guests = new Map(
    ['6695eb01-f6a4-8304-79aa-97f2502e193f', '00000000-0000-0000-0000-000000000000', UUID].map((uuid) => [uuid, GUEST]),
  );
  await fileState(path, (line) => warnings.push(line)).save(guests);
  t.same(await fileState(path, (line) => warnings.push(line)).load(), guests);
  t.same(warnings, []);
});

test('what is wrong of one guest costs only that guest', async (t) => {
  const other = '11111111-2222-3333-4444-555555555555';
  for (const [wrong, problem] of [
    ['"pause":15000', /guests\.11111111-.*\.balloon\.pause: /],
    [`"${other}"`, /guests: .*\.\.\/x.* is no UUID/],
  ] as const) {
    const path = join(t.testdir(), 'host.json');
    await fileState(path, () => {}).save(
      new Map([
        [other, GUEST],
        [UUID, GUEST],
      ]),
    );
    const text = readFileSync(path, 'utf8').replace(wrong, wrong.startsWith('"pause') ? '"pause":"x"' : '"../x"');
    writeFileSync(path, text);
    const warnings: string[] = [];
    t.same(await fileState(path, (line) => warnings.push(line)).load(), new Map([[UUID, GUEST]]));
    t.match(warnings, [problem]);
    t.match(warnings, [/set aside as .*; what it says of the other guests is believed$/]);
    t.equal(readFileSync(`${path}.bad`, 'utf8'), text);
  }
});

test('what is read for a dry run stays as it is, also where it is broken, and nothing is written', async (t) => {
  const path = join(t.testdir({ 'host.json': 'broken' }), 'host.json');
  const warnings: string[] = [];
  const state = fileState(path, (line) => warnings.push(line), { readOnly: true });
  t.same(await state.load(), new Map());
  await state.save(GUESTS);
  t.match(warnings, [/it is not believed$/]);
  t.equal(readFileSync(path, 'utf8'), 'broken');
});

test('a file of a later version is set aside, and kept', async (t) => {
  const path = join(t.testdir({ 'host.json': '{"version":4,"more":"of it"}' }), 'host.json');
  const warnings: string[] = [];
  t.same(await fileState(path, (line) => warnings.push(line)).load(), new Map());
  t.match(warnings, [/not what memcoord of this version writes.*set aside as .*host\.json\.bad/]);
  t.equal(readFileSync(`${path}.bad`, 'utf8'), '{"version":4,"more":"of it"}');
  t.notOk(existsSync(path));
});

test('a file that cannot be set aside is not said to be', async (t) => {
  const path = join(t.testdir({ 'host.json': 'broken', 'host.json.bad': {} }), 'host.json');
  const warnings: string[] = [];
  t.same(await fileState(path, (line) => warnings.push(line)).load(), new Map());
  t.match(warnings, [/it is not believed, and cannot be set aside: EISDIR/]);
  t.notMatch(warnings[0], 'set aside as');
});

test('whatever stands in the file, it is never fatal, and never believed where it is not whole', async (t) => {
  const path = join(t.testdir(), 'host.json');
  await fileState(path, () => {}).save(GUESTS);
  const whole = readFileSync(path, 'utf8');
  const broken = fc.oneof(
    fc.string(),
    fc.json(),
    fc.nat(whole.length - 3).map((length) => whole.slice(0, length)),
    fc.constantFrom(
      whole.replace('"original":10', '"original":-1'),
      whole.replace('"target":400000', '"target":-1'),
      whole.replace('"target":400000', '"target":9007199254740992'),
      whole.replace('"target":400000', '"target":null'),
      whole.replace('"speed":409600', '"speed":1e999'),
      whole.replace('"pause":15000', '"pause":"15000"'),
      whole.replace('"period"', '"periods"'),
      whole.replace('"set":1', '"set":0.5'),
      whole.replace('"id":7', '"id":"7"'),
      whole.replace(UUID, '../../etc/passwd'),
    ),
  );
  await fc.assert(
    fc.asyncProperty(broken, async (text) => {
      writeFileSync(path, text);
      const warnings: string[] = [];
      const read = await fileState(path, (line) => warnings.push(line)).load();
      return read.size === 0 && warnings.length === 1 && readFileSync(`${path}.bad`, 'utf8') === text;
    }),
  );
});

test('a file that cannot be written is reported once, and again after it could be', async (t) => {
  const folder = t.testdir({ 'in-the-way': '' });
  const warnings: string[] = [];
  const state = fileState(join(folder, 'in-the-way/host.json'), (line) => warnings.push(line));
  await state.save(GUESTS);
  await state.save(GUESTS);
  t.equal(warnings.length, 1);
  t.match(warnings[0], /cannot be written, so a crash would lose what the guests had before memcoord came/);
});

test('what stands in the place of the new file is neither followed nor kept', async (t) => {
  const folder = t.testdir({ theirs: 'theirs', 'link.json.new': t.fixture('symlink', 'theirs'), 'left.json.new': 'cut o' });
  chmodSync(join(folder, 'left.json.new'), 0o666);
  for (const name of ['link.json', 'left.json']) {
    const path = join(folder, name);
    await fileState(path, (line) => t.fail(line)).save(GUESTS);
    t.ok(lstatSync(path).isFile());
    t.equal(lstatSync(path).mode & 0o077, 0);
    t.same(await fileState(path, (line) => t.fail(line)).load(), GUESTS);
  }
  t.equal(readFileSync(join(folder, 'theirs'), 'utf8'), 'theirs');
});

test('a folder in place of the file is reported, and nothing is believed', async (t) => {
  const path = join(t.testdir(), 'host.json');
  mkdirSync(path);
  chmodSync(path, 0o700);
  const warnings: string[] = [];
  t.same(await fileState(path, (line) => warnings.push(line)).load(), new Map());
  t.match(warnings, [/cannot be read/]);
});

test('a pipe in place of the file holds nothing up, and the next save replaces it', async (t) => {
  const path = join(t.testdir(), 'host.json');
  execFileSync('mkfifo', [path]);
  const warnings: string[] = [];
  const state = fileState(path, (line) => warnings.push(line));
  t.same(await state.load(), new Map());
  t.match(warnings, [/cannot be read, so its content is ignored: it is a pipe/]);
  await state.save(GUESTS);
  t.same(await state.load(), GUESTS);
});

test('the state of this machine is where a boot clears it, that of another on disk; a URI is no path', async (t) => {
  const local = (environment: NodeJS.ProcessEnv, user: number) => statePlace('qemu:///system', UUID, environment, user);
  t.same(local({ RUNTIME_DIRECTORY: '/srv/run' }, 0), { path: '/srv/run/qemu%3A%2F%2F%2Fsystem.json', lasting: false });
  t.equal(local({ STATE_DIRECTORY: '/srv/state', XDG_RUNTIME_DIR: '/x' }, 0).path, '/run/memcoord/qemu%3A%2F%2F%2Fsystem.json');
  t.equal(local({ XDG_RUNTIME_DIR: '/run/x' }, 7).path, '/run/x/memcoord/qemu%3A%2F%2F%2Fsystem.json');
  t.equal(local({}, 7).path, '/run/user/7/memcoord/qemu%3A%2F%2F%2Fsystem.json');
  const remote = (environment: NodeJS.ProcessEnv, user: number) => statePlace('qemu+ssh://host/system', UUID, environment, user);
  t.same(remote({ STATE_DIRECTORY: '/srv/state' }, 0), { path: `/srv/state/${UUID}.json`, lasting: true });
  t.equal(remote({ RUNTIME_DIRECTORY: '/srv/run' }, 0).path, `/var/lib/memcoord/${UUID}.json`);
  t.equal(remote({ XDG_STATE_HOME: '/home/x/state' }, 7).path, `/home/x/state/memcoord/${UUID}.json`);
  t.equal(sleepersPlace('qemu:///system', { RUNTIME_DIRECTORY: '/srv/run' }, 0), '/var/lib/memcoord/qemu%3A%2F%2F%2Fsystem.saved.json');
  t.equal(sleepersPlace('qemu:///system', { STATE_DIRECTORY: '/srv/state' }, 7), '/srv/state/qemu%3A%2F%2F%2Fsystem.saved.json');
  t.equal(statePlace('test+unix:///a/../b', UUID, {}, 0).path, '/run/memcoord/test%2Bunix%3A%2F%2F%2Fa%2F..%2Fb.json');
});
