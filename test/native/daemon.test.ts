import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { openLibvirt } from '../../lib/libvirt/hypervisor.js';
import { loadBinding } from '../../lib/libvirt/load.js';
import type { NativeEvent } from '../../lib/libvirt/native.js';
import { ACTUAL, MAXIMUM, READ, STATE, STATUS, STRIDE } from '../../lib/sweep.js';
import { failureOf, open, runNode, SOON, startDaemon, until } from './support.js';

const TEST = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/** Writes the XML of one more guest for a test host. @returns the file. */
async function xmlOf(t: Test, name: string): Promise<string> {
  const file = join(t.testdirName, `${name}.xml`);
  await mkdir(t.testdirName, { recursive: true });
  await writeFile(file, `<domain type='test'><name>${name}</name><memory>1048576</memory><os><type>hvm</type></os></domain>`);
  return file;
}

t.test('what happens to guests is told as it happens', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  const events: NativeEvent[] = [];
  connection.onEvent((event) => events.push(event));
  const told = async (expected: Partial<Extract<NativeEvent, { kind: 'lifecycle' }>>) => {
    const isIt = (event: NativeEvent) =>
      Object.entries(expected).every(([key, value]) => (event as unknown as Record<string, unknown>)[key] === value);
    await until(`the event ${JSON.stringify(expected)}`, () => events.some(isIt));
    t.pass(JSON.stringify(expected));
  };
  await virsh('suspend', 'test');
  await told({ kind: 'lifecycle', uuid: TEST, name: 'test', event: 3 });
  await virsh('resume', 'test');
  await told({ kind: 'lifecycle', uuid: TEST, name: 'test', event: 4 });
  await virsh('destroy', 'test');
  await told({ kind: 'lifecycle', uuid: TEST, name: 'test', event: 5 });
  t.same((await connection.sample(SOON)).guests, []);
  await virsh('start', 'test');
  await told({ kind: 'lifecycle', uuid: TEST, name: 'test', event: 2 });
  const { guests, figures } = await connection.sample(SOON);
  t.match(guests, [{ uuid: TEST, name: 'test' }], 'the set has changed, so it is named again');
  t.equal(figures[STATUS], READ);

  const heard = events.length;
  connection.onEvent(null);
  await virsh('suspend', 'test');
  await sleep(100);
  t.equal(events.length, heard, 'null stops events');
});

t.test('an error thrown by a listener is an uncaught exception, and the next event comes all the same', async (t) => {
  const { uri } = await startDaemon(t);
  const ended = await runNode(
    `process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    const connection = await binding.open(uri, { readOnly: false, ...SOON });
    connection.onEvent(({ event }) => { throw new Error(event); });
    const virsh = (...words) => require('node:util').promisify(require('node:child_process').execFile)('virsh', ['-q', '-c', uri, ...words],
      { env: { ...process.env, LD_PRELOAD: '' } });
    await virsh('suspend', 'test');
    await virsh('resume', 'test');
    await sleep(200);
    await connection.close(SOON);`,
    { uri },
  );
  t.match(ended, { code: 0, stderr: '', stdout: 'uncaught 3\nuncaught 4' });
});

t.test('what one connection sets, the other reads', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  t.same(await connection.setMemory([{ uuid: TEST, kib: 1_048_576 }], SOON), [null]);
  t.equal((await connection.sample(SOON)).figures[ACTUAL], 1_048_576);
  t.match(await virsh('dominfo', 'test'), /Used memory:\s+1048576 KiB/);
});

t.test('the state of a guest is that of the sweep', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  const state = async () => (await connection.sample(SOON)).figures[STATE];
  t.equal(await state(), 1, 'running');
  await virsh('suspend', 'test');
  t.equal(await state(), 3, 'paused');
  await virsh('resume', 'test');
  t.equal(await state(), 1);
});

t.test('a guest that was started again, with another maximum and another name, is the new one at once', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  const { guests: before } = await connection.sample(SOON);
  t.same(await connection.setMemory([{ uuid: TEST, kib: 1_048_576 }], SOON), [null]);
  await virsh('destroy', 'test');
  t.match(await connection.setMemory([{ uuid: TEST, kib: 1_048_576 }], SOON), [{ code: 'ERR_LIBVIRT_OPERATION_INVALID' }]);
  await virsh('domrename', 'test', 'renamed');
  await virsh('setmaxmem', 'renamed', '4194304');
  await virsh('start', 'renamed');
  t.same(await connection.setMemory([{ uuid: TEST, kib: 3_145_728 }], SOON), [null], 'before a sweep has seen it');
  const { guests: after, figures } = await connection.sample(SOON);
  t.match(after, [{ uuid: TEST, name: 'renamed' }]);
  t.not(after?.[0]?.id, before?.[0]?.id);
  t.equal(figures[MAXIMUM], 4_194_304);
  t.equal(figures[ACTUAL], 3_145_728);
  t.match(await connection.setMemory([{ uuid: TEST, kib: 9_000_000 }], SOON), [{ domain: 'renamed' }]);
});

t.test('guests that come and go between sweeps are read while they are there', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  const names = async () => {
    const { guests, figures } = await connection.sample(SOON);
    t.ok(Array.from({ length: figures.length / STRIDE }, (_, i) => figures[i * STRIDE + STATUS]).every((status) => status === READ));
    return guests?.map(({ name }) => name);
  };
  t.same(await names(), ['test']);
  for (const name of ['one', 'two']) await virsh('create', await xmlOf(t, name));
  t.same(await names(), ['test', 'one', 'two']);
  await virsh('destroy', 'one');
  t.same(await names(), ['test', 'two']);
  await virsh('create', await xmlOf(t, 'one'));
  t.same(await names(), ['test', 'two', 'one']);
});

t.test('a guest that is gone is still named in errors', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  await connection.sample(SOON);
  await virsh('destroy', 'test');
  await virsh('undefine', 'test');
  t.match(await connection.setMemory([{ uuid: TEST, kib: 1_048_576 }], SOON), [{ code: 'ERR_LIBVIRT_NO_DOMAIN', domain: 'test' }]);
});

t.test('a daemon that hangs holds up nothing but its own calls, and is given up after four seconds', async (t) => {
  const { uri, pid, virsh } = await startDaemon(t);
  const connection = await open(t, uri);
  for (let i = 0; i < 7; ++i) await virsh('create', await xmlOf(t, `other${i}`));
  // As in normal operation, guests were read in parallel before.
  t.equal((await connection.sample(SOON)).guests?.length, 8);
  let closed: NativeEvent | undefined;
  let closedAfter = 0;
  connection.onEvent((event) => {
    closed = event;
    closedAfter = performance.now() - stopped;
  });

  process.kill(pid, 'SIGSTOP');
  const stopped = performance.now();
  // As many as are in flight at a time.
  const guestUnderTest = Array.from({ length: 4 }, () => failureOf(connection.sample({ deadlineMs: 60_000 })));
  // More than that, and than libuv has threads.
  const calls = Array.from({ length: 8 }, () => failureOf(connection.sample({ deadlineMs: 600 })));
  const move = connection.setMemory([{ uuid: TEST, kib: 1_048_576 }], { deadlineMs: 600 });

  let ticks = 0;
  const timer = setInterval(() => ++ticks, 10);
  let slowest = 0;
  for (let i = 0; i < 20; ++i) {
    const before = performance.now();
    await stat('/');
    slowest = Math.max(slowest, performance.now() - before);
    await sleep(10);
  }
  clearInterval(timer);
  t.ok(slowest < 200, `fs.stat took ${slowest} ms at most`);
  t.ok(ticks >= 10, `${ticks} ticks of a timer`);

  t.same(
    (await Promise.all(calls)).map(({ code }) => code),
    calls.map(() => 'ERR_MEMCOORD_DEADLINE'),
  );
  t.match(await move, [{ code: 'ERR_MEMCOORD_DEADLINE', domain: 'test', message: /outcome is not known/ }]);
  const missed = performance.now() - stopped;
  t.ok(missed >= 590 && missed < 1500, `the deadline of 600 ms came after ${missed} ms`);

  await until('the close callback', () => closed !== undefined);
  t.same(closed, { kind: 'closed', reason: 2 });
  t.ok(closedAfter > 2500 && closedAfter < 6500, `after ${closedAfter} ms`);
  t.equal(connection.isAlive(), false);
  for (const error of await Promise.all(guestUnderTest)) t.match(error, { code: 'ERR_LIBVIRT_INTERNAL_ERROR', message: /keepalive/ });
  t.match((await failureOf(connection.sample(SOON))).code, /^ERR_LIBVIRT_/, 'no more calls hang');
  const closing = performance.now();
  await connection.close({ deadlineMs: 5000 });
  t.ok(performance.now() - closing < 1000, 'nor does close');
  // Where calls shared a libvirt connection, this would crash the process: see class Links.
  process.kill(pid, 'SIGCONT');
  await sleep(200);
});

t.test('close takes no longer than it is given', async (t) => {
  const { uri, pid } = await startDaemon(t);
  const connection = await open(t, uri);
  process.kill(pid, 'SIGSTOP');
  const reading = failureOf(connection.sample({ deadlineMs: 60_000 }));
  const started = performance.now();
  await connection.close({ deadlineMs: 300 });
  const took = performance.now() - started;
  t.ok(took >= 290 && took < 1200, `${took} ms`);
  t.match(await reading, { code: 'ERR_MEMCOORD_CLOSED' }, 'what had not come back by then is let go');
});

t.test('a daemon that ends closes its connections', async (t) => {
  const { uri, pid } = await startDaemon(t);
  const connection = await open(t, uri);
  const events: NativeEvent[] = [];
  connection.onEvent((event) => events.push(event));
  process.kill(pid, 'SIGKILL');
  await until('the close callback', () => events.length > 0);
  await sleep(100);
  t.equal(events.length, 1, 'once, though there are two connections');
  t.match(events[0]?.kind, 'closed');
  t.equal(connection.isAlive(), false);
});

t.test('opening ends its wait when it is told to, and nothing of it is left once the daemon answers', async (t) => {
  const { uri, pid } = await startDaemon(t);
  process.kill(pid, 'SIGSTOP');
  const controller = new AbortController();
  const opening = openLibvirt(uri, { signal: controller.signal });
  await sleep(100);
  controller.abort(new Error('enough'));
  await t.rejects(opening, { message: 'enough' });
  const socket = new URL(uri).searchParams.get('socket') ?? '';
  // The daemon's ends of its connections; the flag marks the socket that listens.
  const clients = async () =>
    (await readFile('/proc/net/unix', 'utf8')).split('\n').filter((line) => line.endsWith(` ${socket}`) && !line.includes(' 00010000 '))
      .length;
  t.ok((await clients()) > 0, 'it waits to be let in');
  process.kill(pid, 'SIGCONT');
  await until('the late connection to be closed', async () => (await clients()) === 0);
  await t.rejects(openLibvirt(uri, { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

t.test('opening gives up on a daemon that hangs, and does not heap up attempts', async (t) => {
  const { uri, pid } = await startDaemon(t);
  process.kill(pid, 'SIGSTOP');
  const attempt = (deadlineMs: number) => loadBinding().open(uri, { readOnly: false, deadlineMs });
  const attempts = await Promise.all(Array.from({ length: 4 }, () => failureOf(attempt(200))));
  t.same(
    attempts.map(({ code }) => code),
    attempts.map(() => 'ERR_MEMCOORD_DEADLINE'),
  );
  t.match(await failureOf(attempt(200)), { code: 'ERR_MEMCOORD_BUSY' });
  process.kill(pid, 'SIGCONT');
  await until('the daemon to be reached again', () =>
    attempt(2000).then(
      (connection) => connection.close(SOON).then(() => true),
      () => false,
    ),
  );
  t.pass('reached again');
});
