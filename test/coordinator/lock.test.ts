import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { LockedError, lockHolder, lockOwner, takeLock } from '../../lib/coordinator/lock.js';

/** A process that takes the lock's name as a coordinator of another version would: by the protocol alone. */
async function holder(id: string, answers = true): Promise<ChildProcess> {
  const answer = answers ? "(s) => s.end(process.pid + '\\n')" : '() => {}';
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer(${answer}).listen({ path: '\\0memcoord-${id}' }, () => console.log('held'))`,
  ]);
  await once(child.stdout, 'data');
  return child;
}

t.test('a host is held once, and free again when released', async (t) => {
  const id = randomUUID();
  t.equal(await lockHolder(id), 'nobody');
  const lock = await takeLock(id);
  t.equal(await lockHolder(id), process.pid);
  await t.rejects(takeLock(id), { code: 'ERR_MEMCOORD_LOCKED', pid: process.pid });
  await lock.release();
  const again = await takeLock(id);
  await again.release();
});

t.test('hosts do not get in each other’s way', async (t) => {
  const ids = [randomUUID(), randomUUID()];
  const locks = await Promise.all(ids.map(takeLock));
  t.strictSame(await Promise.all(ids.map(lockHolder)), [process.pid, process.pid]);
  await Promise.all(locks.map((lock) => lock.release()));
});

t.test('a second coordinator learns the pid of the first, whose death by SIGKILL leaves no stale lock', async (t) => {
  const id = randomUUID();
  const child = await holder(id);
  await t.rejects(takeLock(id), new LockedError(child.pid ?? 0));
  child.kill('SIGKILL');
  await once(child, 'exit');
  const lock = await takeLock(id);
  await lock.release();
});

t.test('a holder that hangs is a holder', async (t) => {
  const id = randomUUID();
  const child = await holder(id, false);
  await t.rejects(takeLock(id), { code: 'ERR_MEMCOORD_LOCKED', pid: null, message: /does not answer/ });
  child.kill('SIGKILL');
  await once(child, 'exit');
});

t.test('whose the lock is, the kernel says, also of a holder that hangs', async (t) => {
  const id = randomUUID();
  t.equal(await lockOwner(id), null);
  const child = await holder(id, false);
  t.equal(await lockOwner(id), child.pid);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.equal(await lockOwner(id), null);
});

t.test('a socket whose path reads like a line about the lock makes nobody its owner', async (t) => {
  const id = randomUUID().slice(0, 8);
  const lock = await takeLock(id);
  t.equal(await lockOwner(id), process.pid);
  const path = `${t.testdir()}/`;
  process.chdir(path);
  const forged = createServer().listen({ path: `x\n0: 00000002 00000000 00010000 0001 01 1 @memcoord-${id}` });
  await once(forged, 'listening');
  t.equal(await lockOwner(id), null, 'rather nobody than somebody else');
  forged.close();
  await lock.release();
});

t.test('a holder that answers nonsense is a holder', async (t) => {
  const id = randomUUID();
  const server = createServer((socket) => socket.end('hello')).listen({ path: `\0memcoord-${id}` });
  await once(server, 'listening');
  await t.rejects(takeLock(id), { code: 'ERR_MEMCOORD_LOCKED', pid: null });
  server.close();
});

t.test('a holder that answers drop by drop, or without end, is one that does not answer, and is not waited for', async (t) => {
  const answers: ((socket: Socket) => () => void)[] = [
    (socket) => {
      const dripping = setInterval(() => socket.write('1'), 300);
      return () => clearInterval(dripping);
    },
    (socket) => {
      const pour = (): boolean => socket.write('1'.repeat(65_536)) && pour();
      socket.on('drain', pour);
      pour();
      return () => {};
    },
  ];
  for (const answer of answers) {
    const id = randomUUID();
    const server = createServer((socket) => {
      const stop = answer(socket.on('error', () => {}));
      socket.on('close', stop);
    }).listen({ path: `\0memcoord-${id}` });
    await once(server, 'listening');
    const began = performance.now();
    await t.rejects(takeLock(id), { code: 'ERR_MEMCOORD_LOCKED', pid: null });
    t.ok(performance.now() - began < 5000, 'one second, and some for a busy machine');
    server.close();
  }
});

t.test('whoever asks and never hangs up does not keep the holder from giving the lock back', async (t) => {
  const id = randomUUID();
  const lock = await takeLock(id);
  const asking = connect({ path: `\0memcoord-${id}`, allowHalfOpen: true });
  const [answer] = (await once(asking, 'data')) as [Buffer];
  t.equal(String(answer), `${process.pid}\n`);
  await lock.release();
  t.equal(await lockHolder(id), 'nobody');
  asking.destroy();
});

t.test('a lock does not keep its process alive', async (t) => {
  const id = randomUUID();
  const module = new URL('../../lib/coordinator/lock.ts', import.meta.url).href;
  const child = spawn(process.execPath, [
    ...process.execArgv,
    '--input-type=module',
    '-e',
    `const { takeLock } = await import(${JSON.stringify(module)}); await takeLock('${id}');`,
  ]);
  const [code] = (await once(child, 'exit')) as [number];
  t.equal(code, 0);
  t.equal(await lockHolder(id), 'nobody');
});
