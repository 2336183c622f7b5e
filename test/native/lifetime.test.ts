import t from 'tap';
import { STRIDE } from '../../lib/sweep.js';
import { failureOf, METADATA, open, runNode, SOON, startDaemon } from './support.js';

const WELL = { code: 0, signal: null, stderr: '' };

t.test('close may be called again, also at the same time', async (t) => {
  const connection = await open(t, 'test:///default');
  t.equal(connection.isAlive(), true);
  await Promise.all([connection.close(SOON), connection.close(SOON)]);
  await connection.close({ deadlineMs: 0 });
  t.equal(connection.isAlive(), false);
});

t.test('calls after close are refused', async (t) => {
  const connection = await open(t, 'test:///default');
  await connection.close(SOON);
  const closed = { code: 'ERR_MEMCOORD_CLOSED' };
  const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
  t.match(await failureOf(connection.sample(SOON)), closed);
  t.match(await failureOf(connection.setMemory([], SOON)), closed);
  t.match(await failureOf(connection.setStatsPeriod(uuid, 1, SOON)), closed);
  t.match(await failureOf(connection.describe(uuid, { ...SOON, metadataUri: METADATA })), closed);
  t.match(await failureOf(connection.nodeMemory(SOON)), closed);
  t.match(await failureOf(connection.capabilities(SOON)), closed);
  connection.onEvent(null);
});

t.test('close waits for what is in flight', async (t) => {
  const connection = await open(t, 'test:///default');
  const order: string[] = [];
  const reading = connection.sample(SOON).then(() => order.push('sample'));
  await connection.close(SOON);
  order.push('close');
  await reading;
  t.same(order, ['sample', 'close']);
});

t.test('opened and closed a thousand times, a connection leaves no descriptor, thread or memory behind', async (t) => {
  const { uri } = await startDaemon(t);
  const { stdout, ...rest } = await runNode(
    `const { readdirSync, readFileSync } = require('node:fs');
    const used = () => ({
      descriptors: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      rss: Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]),
    });
    const once = async () => {
      const connection = await binding.open(uri, { readOnly: false, ...SOON });
      await connection.sample(SOON);
      await connection.close(SOON);
    };
    // Pools of libvirt, glib and Node grow to their size first.
    for (let i = 0; i < 200; ++i) await once();
    await sleep(200);
    globalThis.gc();
    const before = used();
    for (let i = 0; i < 1000; ++i) await once();
    await sleep(200);
    globalThis.gc();
    const after = used();
    console.log(JSON.stringify({
      descriptors: after.descriptors - before.descriptors,
      threads: after.threads - before.threads,
      rss: after.rss - before.rss,
    }));`,
    { uri, flags: ['--expose-gc'] },
  );
  t.match(rest, WELL);
  const grown = JSON.parse(stdout) as { descriptors: number; threads: number; rss: number };
  t.ok(grown.descriptors <= 0, `${grown.descriptors} descriptors`);
  t.ok(grown.threads <= 0, `${grown.threads} threads`);
  // A leak of one virConnect each would be some 20 MiB. Sanitizers keep freed memory for a while, on purpose.
  if (process.env.LD_PRELOAD === undefined) t.ok(grown.rss < 8192, `${grown.rss} KiB`);
});

t.test('an idle connection does not keep a program running, a pending promise does', async (t) => {
  const idle = await runNode(`
    const connection = await binding.open(uri, { readOnly: false, ...SOON });
    connection.onEvent(() => {});
    console.log('open');`);
  t.match(idle, { ...WELL, stdout: 'open' });
  const { uri, pid } = await startDaemon(t);
  const pending = await runNode(
    `const connection = await binding.open(uri, { readOnly: false, ...SOON });
    process.kill(argv[0], 'SIGSTOP');
    connection.sample({ deadlineMs: 700 }).catch((error) => console.log(error.code));`,
    { uri, argv: [pid] },
  );
  t.match(pending, { ...WELL, stdout: 'ERR_MEMCOORD_DEADLINE' });
});

t.test('a program may exit with calls in flight', async (t) => {
  const { uri, pid } = await startDaemon(t);
  const ended = await runNode(
    `const connections = [];
    for (let i = 0; i < 5; ++i) connections.push(await binding.open(uri, { readOnly: false, ...SOON }));
    process.kill(argv[0], 'SIGSTOP');
    for (const connection of connections) {
      for (let i = 0; i < 6; ++i) connection.sample({ deadlineMs: 60_000 });
      connection.setMemory([{ uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', kib: 1_000_000 }], { deadlineMs: 60_000 });
      connection.close({ deadlineMs: 60_000 });
    }
    binding.open(uri, { readOnly: false, deadlineMs: 60_000 });
    await sleep(100);
    console.log('exits');
    process.exit(7);`,
    { uri, argv: [pid], abrupt: true },
  );
  t.match(ended, { ...WELL, code: 7, stdout: 'exits' });
  t.ok(ended.ms < 8000, `after ${ended.ms} ms`);
});

t.test('a program may exit while answers are coming in', async (t) => {
  for (let i = 0; i < 5; ++i) {
    const ended = await runNode(
      `const connection = await binding.open(uri, { readOnly: false, ...SOON });
      const again = () => connection.sample(SOON).then(again);
      for (let i = 0; i < 8; ++i) again();
      setTimeout(() => process.exit(7), argv[0]);`,
      { argv: [5 * i], abrupt: true },
    );
    t.match(ended, { ...WELL, code: 7 });
  }
});

t.test('a connection that nobody holds any more is closed when it is collected', async (t) => {
  const { uri, virsh } = await startDaemon(t);
  const ended = await runNode(
    `const { readdirSync, readlinkSync } = require('node:fs');
    const sockets = () => readdirSync('/proc/self/fd').filter((fd) => {
      try { return readlinkSync('/proc/self/fd/' + fd).startsWith('socket:'); } catch { return false; }
    }).length;
    const before = sockets();
    await (async () => {
      const connection = await binding.open(uri, { readOnly: false, ...SOON });
      // A listener that knows its connection does not keep it.
      connection.onEvent(() => connection.isAlive());
      await connection.sample(SOON);
      console.log(sockets() - before);
    })();
    for (let i = 0; i < 100 && sockets() > before; ++i) {
      globalThis.gc();
      await sleep(20);
    }
    console.log(sockets() - before);`,
    { uri, flags: ['--expose-gc'] },
  );
  // One that hears events, one for what changes something, and two that calls use, of which a list may hold one for long.
  t.match(ended, { ...WELL, stdout: '4\n0' });
  t.match(await virsh('list', '--name'), 'test', 'and the daemon goes on');
});

t.test('a connection is not collected while a call of its is in flight', async (t) => {
  const ended = await runNode(
    `const reading = (await binding.open(uri, { readOnly: false, ...SOON })).sample(SOON);
    for (let i = 0; i < 10; ++i) globalThis.gc();
    console.log((await reading).figures.length);`,
    { flags: ['--expose-gc'] },
  );
  t.match(ended, { ...WELL, stdout: String(STRIDE) });
});

const WORKERS = `
  const { Worker } = require('node:worker_threads');
  const worker = (body) => new Worker(
    \`const binding = require('node-gyp-build')(\${JSON.stringify(process.cwd())});
    const { parentPort, workerData } = require('node:worker_threads');
    const SOON = \${JSON.stringify(SOON)};
    (async () => { \${body} })();\`, { eval: true, workerData: uri });
  const ended = (worker) => new Promise((resolve) => worker.on('exit', resolve));`;

t.test('the addon works in workers, several at once and one after the other', async (t) => {
  const ended = await runNode(`${WORKERS}
    const run = async () => {
      const one = worker(\`
        const connection = await binding.open(workerData, { readOnly: false, ...SOON });
        const { figures } = await connection.sample(SOON);
        await connection.close(SOON);
        parentPort.postMessage(figures.length);\`);
      const [[answer]] = await Promise.all([require('node:events').once(one, 'message'), ended(one)]);
      return answer;
    };
    console.log(await Promise.all([run(), run(), run()]));
    console.log(await run());`);
  t.match(ended, { ...WELL, stdout: `[ ${STRIDE}, ${STRIDE}, ${STRIDE} ]\n${STRIDE}` });
});

t.test('a worker may be ended with a sweep running', async (t) => {
  const { uri, pid } = await startDaemon(t);
  // The addon is in use by nobody else: without care Node would unload it under the feet of its threads.
  const hung = await runNode(
    `${WORKERS}
    const one = worker(\`
      const connection = await binding.open(workerData, { readOnly: false, ...SOON });
      parentPort.postMessage('open');
      parentPort.once('message', () => {
        for (let i = 0; i < 6; ++i) connection.sample({ deadlineMs: 60_000 });
        parentPort.postMessage('reading');
      });\`);
    await require('node:events').once(one, 'message');
    process.kill(argv[0], 'SIGSTOP');
    one.postMessage('read');
    await require('node:events').once(one, 'message');
    const started = performance.now();
    await one.terminate();
    console.log(performance.now() - started < 2000 ? 'ended at once' : 'waited');
    process.kill(argv[0], 'SIGCONT');
    // The calls come back to an environment that is gone.
    await sleep(500);`,
    { uri, argv: [pid] },
  );
  t.match(hung, { ...WELL, stdout: 'ended at once' });
  const busy = await runNode(`${WORKERS}
    for (let i = 0; i < 20; ++i) {
      const one = worker(\`
        const connection = await binding.open(workerData, { readOnly: false, ...SOON });
        const again = () => connection.sample(SOON).then(again);
        for (let i = 0; i < 8; ++i) again();
        parentPort.postMessage('reading');\`);
      await require('node:events').once(one, 'message');
      await sleep(i);
      await one.terminate();
    }
    console.log('well');`);
  t.match(busy, { ...WELL, stdout: 'well' });
});
