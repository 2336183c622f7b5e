import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { report, say } from './agent.js';
import { guestSpecs } from './guests.js';
import { coordinatorCommand, endedAgo, parseMove } from './scenario.js';

/** A serial port whose guest answers as `answer` has it; the words are the line that it got. */
async function port(t: Test, answer: (socket: Socket, words: string[]) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'memcoord-test-'));
  const path = join(folder, 'port');
  const server = createServer((socket) => {
    socket.on('data', (data) => {
      for (const line of data.toString().split('\n')) if (line !== '') answer(socket, line.split(' '));
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  return path;
}

t.test('an answer is told from one that an earlier caller did not wait for', async (t) => {
  const path = await port(t, (socket, [id]) => {
    socket.write('agent ready\n0badcafe ok old=1\n');
    socket.write(`${id} o`);
    setTimeout(() => socket.write('k new=1\n'), 10);
  });
  t.equal(await say('vm', path, 'report'), 'new=1');
});

t.test('the guest is told the command after an empty line, and its error is passed on in its words', async (t) => {
  const path = await port(t, (socket, [id, ...words]) => socket.write(`${id} error no ${words.join(' ')}\n`));
  await t.rejects(say('vm', path, 'eat 5 x'), { message: 'vm: no eat 5 x' });
});

t.test('a guest that does not answer, hangs up, or is not there is an error', async (t) => {
  const silent = await port(t, () => undefined);
  await t.rejects(say('vm', silent, 'report', 50), { message: "vm did not answer 'report' within 0.05 s" });
  const rude = await port(t, (socket) => socket.destroy());
  await t.rejects(say('vm', rude, 'report'), { message: 'vm hung up' });
  await t.rejects(say('vm', join(tmpdir(), 'memcoord-no-such-port'), 'report'), { message: /cannot talk with vm/ });
});

t.test('a report is figures by name', async (t) => {
  const path = await port(t, (socket, [id]) => socket.write(`${id} ok eating=1 ended_ms_ago=-1 MemFree=424760\n`));
  t.strictSame(await report('vm', path), { eating: 1, ended_ms_ago: -1, MemFree: 424760 });
});

t.test('an eater ends when it is killed, not when its guest has cleared up after it', async (t) => {
  const eats = { eating: 1, failed: 0, killed_ms_ago: -1, ended_ms_ago: 120_000 };
  t.equal(endedAgo(eats), null);
  t.equal(endedAgo({ ...eats, killed_ms_ago: 1500 }), 1.5, 'its memory is being freed');
  t.equal(endedAgo({ ...eats, eating: 0, killed_ms_ago: 3500, ended_ms_ago: 3500 }), 3.5);
  t.equal(endedAgo({ ...eats, eating: 0, ended_ms_ago: 250 }), 0.25, 'it ended otherwise');
  t.equal(endedAgo({ ...eats, failed: 1 }), 0, 'it could not allocate');
});

t.test('moves are read out of a log, with the time at which they were logged', async (t) => {
  const line = { time: 15_000, msg: 'move', guest: 'vm', uuid: 'u', from: 4, to: 2, actual: 4, spare: 8, reason: 'give', applied: true };
  t.strictSame(parseMove(JSON.stringify(line), 10_000), { t: 5, guest: 'vm', from: 4, to: 2, actual: 4, spare: 8, reason: 'give' });
  t.match(parseMove(JSON.stringify({ ...line, time: '1970-01-01T00:00:12.500Z' }), 10_000), { t: 2.5 });
  t.equal(parseMove(JSON.stringify({ ...line, applied: false }), 0), null);
  t.equal(parseMove(JSON.stringify({ ...line, msg: 'notice' }), 0), null);
  t.equal(parseMove('Error: not JSON', 0), null);
  t.equal(parseMove('null', 0), null);
});

t.test('the coordinator is run with default settings but for interval, pool and log', async (t) => {
  const command = coordinatorCommand('qemu:///system', 3 * 1024 * 1024, undefined);
  t.strictSame(command.slice(1), [
    'dist/cli/main.js',
    'run',
    '--connect',
    'qemu:///system',
    '--interval',
    '1',
    '--pool',
    '3072MiB',
    '--log-format',
    'json',
  ]);
  t.strictSame(coordinatorCommand('qemu:///system', 1, './mine 1'), ['sh', '-c', 'exec ./mine 1']);
});

t.test('the classic lab is four guests, two of them with a swap disk; the rest is by choice', async (t) => {
  const guest = { current: 512, maximum: 2048, autodeflate: false, driver: true };
  t.strictSame(guestSpecs(), [
    { ...guest, name: 'aos_vm1', swap: 0 },
    { ...guest, name: 'aos_vm2', swap: 64 },
    { ...guest, name: 'aos_vm3', swap: 0 },
    { ...guest, name: 'aos_vm4', swap: 64 },
  ]);
  t.strictSame(
    guestSpecs({ count: 1, prefix: 'x', current: 256, maximum: 300, autodeflate: [1], driverless: [1], swap: [1], swapSize: 8 }),
    [{ name: 'x1', current: 256, maximum: 300, swap: 8, autodeflate: true, driver: false }],
  );
});
