import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { MAXIMUM, REFRESHED, STATE, STRIDE } from '../../lib/sweep.js';
import { CLEAN_ENV, domainXml, hostOf, makeGuests, open, ROOT, runNode, startDaemon } from './support.js';

/** Builds hang.c and runs a program with it, on a host of so many guests. */
async function onHangingHost(t: Test, count: number, program: string, socket?: string) {
  const dir = t.testdir();
  const uri = socket ?? (await hostOf(t, makeGuests(count)));
  const preload = join(dir, 'hang.so');
  await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', preload, join(ROOT, 'test/native/hang.c'), '-ldl'], { env: CLEAN_ENV });
  mkdirSync(join(dir, 'hanging'));
  process.env.HANG = join(dir, 'hanging');
  t.teardown(() => delete process.env.HANG);
  const { stdout, ...rest } = await runNode(
    `const { writeFileSync, rmSync } = require('node:fs');
    const hang = (...names) => names.forEach((name) => writeFileSync(process.env.HANG + '/' + name, ''));
    const release = (...names) => names.forEach((name) => rmSync(process.env.HANG + '/' + name));
    const connection = await binding.open(uri, { readOnly: false, ...SOON });
    const { guests } = await connection.sample(SOON);
    const uuid = (name) => guests.find((guest) => guest.name === name).uuid;
    const statuses = ({ figures }) => guests.map((_, i) => figures[${STRIDE} * i]);
    const sample = async (deadlineMs = 200, options = {}) => statuses(await connection.sample({ deadlineMs, ...options }));
    const set = async (...names) => (await connection.setMemory(names.map((name) => ({ uuid: uuid(name), kib: 600000 })), { deadlineMs: 200 }))
      .map((error) => error && error.code);
    const answers = [];
    ${program}
    await connection.close(SOON);
    console.log(JSON.stringify(answers));`,
    { uri, preload },
  );
  t.match(rest, { code: 0, signal: null, stderr: '' });
  return JSON.parse(stdout);
}

const [READ, MISSED, SET_ASIDE] = [0, 2, 3];

t.test('rule 10: a guest that hangs is missed once and then set aside, while the others are read at full speed', async (t) => {
  const [first, second, quick, released] = await onHangingHost(
    t,
    5,
    `hang('guest1');
    answers.push(await sample());
    answers.push(await sample());
    const started = performance.now();
    for (let i = 0; i < 10; ++i) await sample();
    answers.push(performance.now() - started < 300);
    release('guest1');
    await sleep(50);
    answers.push(await sample());`,
  );
  t.same(first, [READ, MISSED, READ, READ, READ]);
  t.same(second, [READ, SET_ASIDE, READ, READ, READ]);
  t.equal(quick, true, 'a guest that was set aside is not waited for');
  t.same(released, [READ, READ, READ, READ, READ], 'and read again once its call is back');
});

t.test('nobody waits for a guest that takes several times as long as guests usually do, though the deadline is far', async (t) => {
  const [first, sampled, others, moved, codes, released] = await onHangingHost(
    t,
    12,
    `const names = ['guest1', 'guest2', 'guest3', 'guest4', 'guest5', 'guest6'];
    const timed = async (call) => { const begun = performance.now(); const value = await call(); return [value, performance.now() - begun]; };
    hang('guest1');
    const [seen, tookSample] = await timed(() => sample(10_000));
    answers.push(seen, tookSample, (await sample(10_000)).filter((status) => status === 0).length);
    release('guest1');
    await sleep(50);
    hang(...names);
    const [errors, tookMove] = await timed(() => connection.setMemory([...names, 'guest7'].map((name) => ({ uuid: uuid(name), kib: 600000 })), { deadlineMs: 10_000 }));
    answers.push(tookMove, errors.map((error) => error && error.code));
    release(...names);
    await sleep(50);
    answers.push((await sample()).filter((status) => status === 0).length);`,
  );
  t.same(first, [READ, MISSED, ...Array(10).fill(READ)]);
  t.ok(sampled >= 250 && sampled < 2000, `the sample took ${sampled} ms`);
  t.equal(others, 11);
  t.ok(moved < 4000, `the moves took ${moved} ms`);
  t.same(codes, [...Array(6).fill('ERR_MEMCOORD_DEADLINE'), null], 'more hang than there are threads, and another is moved all the same');
  t.equal(released, 12, 'who was late and is back in time is no suspect');
});

t.test('guests that hang hold at most two of the four slots, even where more came to hang at once', async (t) => {
  const [first, second, third, released, sweeps] = await onHangingHost(
    t,
    8,
    `hang('guest0', 'guest1', 'guest2', 'guest3', 'guest4');
    for (let i = 0; i < 3; ++i) answers.push(await sample());
    release('guest0', 'guest1', 'guest2', 'guest3', 'guest4');
    await sleep(50);
    answers.push(await sample());
    let sweeps = 1;
    while ((await sample()).some((status) => status !== 0)) ++sweeps;
    answers.push(sweeps);`,
  );
  t.same(first, Array(8).fill(MISSED), 'four hang, and nobody else gets a turn');
  t.same(
    second,
    [SET_ASIDE, SET_ASIDE, SET_ASIDE, SET_ASIDE, MISSED, READ, READ, READ],
    'two slots more, of which one is left for the others',
  );
  t.same(third, [SET_ASIDE, SET_ASIDE, SET_ASIDE, SET_ASIDE, SET_ASIDE, READ, READ, READ]);
  t.same([released[0], released[1]], [READ, READ], 'suspects are tried again, two at a time');
  t.ok(sweeps <= 4, `all are read again after ${sweeps} sweeps`);
});

t.test('only guests that hang are set aside, however many waited behind them', async (t) => {
  const rounds = await onHangingHost(
    t,
    // Under sanitizers as many take longer than anything that they wait for.
    process.env.ASAN_OPTIONS === undefined ? 2000 : 100,
    `const hanging = ['guest0', 'guest1', 'guest2', 'guest3'];
    for (let i = 0; i < 3; ++i) {
      hang(...hanging);
      await sample();
      answers.push((await sample(2000)).filter((status) => status !== 0).length);
      release(...hanging);
      do await sleep(50); while ((await sample(2000)).some((status) => status !== 0));
    }`,
  );
  t.same(rounds, Array(3).fill(4));
});

t.test('events are heard, and the connection is alive, after more guests hung than links are kept', async (t) => {
  // Over a socket: in-process, all calls share one link.
  const { uri, virsh } = await startDaemon(t);
  // The daemon's test host is there for as long as somebody is connected to it.
  await open(t, uri);
  const dir = t.testdir();
  for (const guest of makeGuests(8)) {
    await writeFile(join(dir, 'guest.xml'), domainXml(guest));
    await virsh('create', join(dir, 'guest.xml'));
  }
  const [hung, heard, alive] = await onHangingHost(
    t,
    8,
    `const virsh = (...words) => require('node:util').promisify(require('node:child_process').execFile)('virsh', ['-q', '-c', uri, ...words],
      { env: { ...process.env, LD_PRELOAD: '' } });
    let heard = 0;
    connection.onEvent(({ kind, name }) => { if (kind === 'lifecycle' && name === 'guest0') heard++; });
    const names = guests.map(({ name }) => name).filter((name) => name !== 'test');
    let missing = 0;
    for (let round = 0; round < 6; ++round) {
      hang(...names);
      for (let i = 0; i < 3; ++i) missing = (await sample()).filter((status) => status !== 0).length;
      release(...names);
      do await sleep(50); while ((await sample()).some((status) => status !== 0));
    }
    answers.push(missing);
    await virsh('suspend', 'guest0');
    await virsh('resume', 'guest0');
    for (let i = 0; i < 100 && heard < 2; ++i) await sleep(20);
    answers.push(heard, connection.isAlive());`,
    uri,
  );
  t.equal(hung, 8);
  t.equal(heard, 2, 'both events');
  t.equal(alive, true);
});

t.test('threads that guests held are given back', async (t) => {
  const [during, after] = await onHangingHost(
    t,
    8,
    `const { readdirSync, readFileSync } = require('node:fs');
    const threads = () => readdirSync('/proc/self/task')
      .filter((id) => { try { return readFileSync('/proc/self/task/' + id + '/comm', 'utf8') === 'memcoord-read\\n'; } catch { return false; } }).length;
    const names = guests.map(({ name }) => name);
    hang(...names);
    for (let i = 0; i < 3; ++i) await sample();
    answers.push(threads());
    release(...names);
    do await sleep(50); while ((await sample()).some((status) => status !== 0));
    for (let i = 0; i < 100 && threads() > 4; ++i) await sleep(20);
    answers.push(threads());`,
  );
  t.ok(during >= 8 && during <= 12, `${during} threads with eight guests hanging`);
  t.ok(after <= 4, `${after} threads when none hangs any more`);
});

t.test('a move of a guest that hangs is unknown, the next one is not tried, and other guests are moved', async (t) => {
  const [first, second, sampled, released] = await onHangingHost(
    t,
    3,
    `hang('guest1');
    answers.push(await set('guest0', 'guest1'));
    answers.push(await set('guest1', 'guest2'));
    answers.push(await sample());
    release('guest1');
    await sleep(50);
    answers.push(await set('guest0', 'guest1', 'guest2'));`,
  );
  t.same(first, [null, 'ERR_MEMCOORD_DEADLINE']);
  t.same(second, ['ERR_MEMCOORD_BUSY', null]);
  t.same(sampled, [READ, SET_ASIDE, READ], 'one call a guest, over both connections');
  t.same(released, [null, null, null]);
});

t.test('rule 10: a move waits for the reading that its guest is busy with, and is not tried where that takes too long', async (t) => {
  const [waited, late, ended] = await onHangingHost(
    t,
    2,
    `hang('guest0');
    const reading = sample(5000);
    await sleep(50);
    const moving = connection.setMemory([{ uuid: uuid('guest0'), kib: 700000 }], { deadlineMs: 5000 });
    answers.push(await set('guest0'));
    release('guest0');
    answers.push(await moving);
    answers.push(await reading);`,
  );
  t.same(waited, ['ERR_MEMCOORD_BUSY'], 'not tried, so the guest has what it had');
  t.same(late, [null]);
  t.same(ended, [READ, READ]);
});

t.test('where the hypervisor does not tell all states in one call, each guest is asked for its own', async (t) => {
  const [rows] = await onHangingHost(
    t,
    2,
    `hang('no-bulk');
    for (let i = 0; i < 2; ++i) {
      const { figures } = await connection.sample(SOON);
      answers[0] = guests.map((_, row) => [${STATE}, ${MAXIMUM}].map((field) => figures[${STRIDE} * row + field]));
    }`,
  );
  t.same(rows, Array(2).fill([1, 2_097_152]));
});

t.test('a first list of the guests that comes late is told as that, and the next sweep reads them all', async (t) => {
  const [late, next] = await onHangingHost(
    t,
    2,
    `const fresh = await binding.open(uri, { readOnly: false, ...SOON });
    hang('bulk');
    answers.push(await fresh.sample({ deadlineMs: 600 }).catch(({ code, message }) => [code, message]));
    release('bulk');
    await sleep(50);
    answers.push(statuses(await fresh.sample(SOON)));
    await fresh.close(SOON);`,
  );
  t.same(late, ['ERR_MEMCOORD_DEADLINE', 'cannot read the guests: no answer in time']);
  t.same(next, [READ, READ]);
});

t.test('a list that is held up is not waited for: guests that are known are read and moved, others taken in by their events', async (t) => {
  // Over a socket: in-process, all calls share one link, and nothing else can start a guest.
  const { uri, virsh } = await startDaemon(t);
  await open(t, uri);
  const dir = t.testdir();
  const [comes, ...there] = makeGuests(3)
    .reverse()
    .map((guest) => domainXml(guest));
  for (const xml of there.reverse()) {
    await writeFile(join(dir, 'guest.xml'), xml);
    await virsh('create', join(dir, 'guest.xml'));
  }
  const [held, quick, moved, changed, after] = await onHangingHost(
    t,
    3,
    `const virsh = (...words) => require('node:util').promisify(require('node:child_process').execFile)('virsh', ['-q', '-c', uri, ...words],
      { env: { ...process.env, LD_PRELOAD: '' } });
    // The guests come with a sweep where they are not those of the last one.
    let known = guests;
    const rows = ({ guests = known, figures }) => {
      known = guests;
      return known.map(({ name }, i) => [name, figures[${STRIDE} * i], figures[${STRIDE} * i + ${STATE}]]);
    };
    hang('bulk', 'list');
    answers.push(rows(await connection.sample({ deadlineMs: 2000 })));
    const begun = performance.now();
    for (let i = 0; i < 10; ++i) await connection.sample({ deadlineMs: 2000 });
    answers.push(performance.now() - begun);
    answers.push(await set('guest0'));
    await virsh('destroy', 'guest1');
    const file = process.env.HANG + '/new.xml';
    writeFileSync(file, ${JSON.stringify(comes)});
    await virsh('create', file);
    await sleep(100);
    answers.push(rows(await connection.sample({ deadlineMs: 2000 })));
    release('bulk', 'list');
    await sleep(50);
    answers.push(rows(await connection.sample({ deadlineMs: 2000 })));`,
    uri,
  );
  const running = (name: string) => [name, READ, 1];
  t.same(held, ['test', 'guest0', 'guest1'].map(running), 'each is asked for its own state');
  t.ok(quick < 600, `ten more sweeps took ${quick} ms`);
  t.same(moved, [null]);
  t.same(changed, ['test', 'guest0', 'guest2'].map(running));
  t.same(after, changed);
});

t.test('while a guest hangs, the states of all are not asked for in one call, which libvirtd may have no worker for', async (t) => {
  const [missed, aside] = await onHangingHost(
    t,
    2,
    `hang('guest0');
    answers.push(await sample());
    hang('bulk');
    answers.push(await sample());
    release('bulk', 'guest0');`,
  );
  t.same(missed, [MISSED, READ]);
  t.same(aside, [SET_ASIDE, READ]);
});

t.test('a stats period that was switched off for a refresh is switched on at the second try', async (t) => {
  const [once, twice] = await onHangingHost(
    t,
    1,
    `const refresh = async () => {
      const { figures } = await connection.sample({ ...SOON, refresh: [{ uuid: uuid('guest0'), seconds: 3 }] });
      const { xml } = await connection.describe(uuid('guest0'), { ...SOON, metadataUri: 'urn:none' });
      return { status: figures[0], refreshed: figures[${REFRESHED}], on: xml.includes("<stats period='3'/>") };
    };
    hang('guest0.refused');
    answers.push(await refresh());
    hang('guest0.refused', 'guest0.refused2');
    answers.push(await refresh());`,
  );
  t.same(once, { status: READ, refreshed: 0, on: true });
  t.match(twice, { status: READ, on: false });
  t.ok(twice.refreshed > 0, 'and where that is refused too, it is told');
});
