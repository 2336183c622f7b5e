import { randomUUID } from 'node:crypto';
import t from 'tap';
import { release } from '../../lib/cli/release.js';
import type { Connect } from '../../lib/cli/session.js';
import { GiB, MiB } from '../../lib/common/units.js';
import { defaultConfig } from '../../lib/config/config.js';
import { Coordinator } from '../../lib/coordinator/coordinator.js';
import { takeLock } from '../../lib/coordinator/lock.js';
import { SimHost } from '../../lib/sim/host.js';
import { collected, connectTo, hostWith, idle } from './simulated.js';

/** A host that was coordinated for a minute, and what of it is on disk. */
async function coordinated(t: { testdir(): string; teardown(undo: () => void): void }, host: SimHost) {
  process.env.RUNTIME_DIRECTORY = process.env.STATE_DIRECTORY = t.testdir();
  t.teardown(() => {
    delete process.env.RUNTIME_DIRECTORY;
    delete process.env.STATE_DIRECTORY;
  });
  const id = randomUUID();
  const connect: Connect = connectTo(host, () => ({ hostId: async () => id }));
  const coordinator = new Coordinator({
    connect: () => connect('sim:///host', { readOnly: false }),
    config: defaultConfig(),
    time: host.time,
  });
  await coordinator.start();
  // The stats periods are noted on disk, in real time, before they are set.
  await new Promise((resolve) => setTimeout(resolve, 200));
  await host.pass(60_000);
  const stopped = coordinator.stop();
  await during(host, stopped, 2000);
  return { id, connect };
}

/** Lets simulated and real time pass until it is done: files are read in real time. */
async function during<T>(host: SimHost, done: Promise<T>, stepMs = 500): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  done.then(end, end);
  while (!over) {
    await host.pass(stepMs);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return done;
}

async function releaseOf(host: SimHost, connect: Connect, options: Parameters<typeof release>[0] = {}) {
  const [out, err] = [collected(), collected()];
  const code = await during(host, release(options, { connect, print: out.print, tell: err.print, time: host.time }));
  return { code, out: out.lines, err: err.lines };
}

t.test('every guest gets back what it had, and a line says so; a second time there is nothing left to do', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }), idle('grew', { current: 400 * MiB }));
  const { connect } = await coordinated(t, host);
  t.ok(host.guest('fat').target < 800 * MiB);
  t.strictSame(await releaseOf(host, connect), {
    code: 0,
    out: ['fat: has 1500MiB, as before memcoord', 'grew: has 400MiB, as before memcoord'],
    err: [],
  });
  t.strictSame(
    host.guests.map(({ target, period }) => [target, period]),
    [
      [1500 * MiB, 0],
      [400 * MiB, 0],
    ],
  );
  t.strictSame((await releaseOf(host, connect)).out, [
    'fat: is left at 1500MiB: memcoord has not changed its size, as far as it knows',
    'grew: is left at 400MiB: memcoord has not changed its size, as far as it knows',
  ]);
});

t.test('what guests had is found again where libvirt has made up another UUID of the host since', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }));
  await coordinated(t, host);
  const { out } = await releaseOf(
    host,
    connectTo(host, () => ({ hostId: async () => randomUUID() })),
  );
  t.strictSame(out, ['fat: has 1500MiB, as before memcoord']);
});

t.test('where a guest gets something else the line says why, and the exit code that there is one', async (t) => {
  let usesNow = 300 * MiB;
  const host = hostWith(idle('busy', { current: 360 * MiB, uses: () => usesNow }), idle('b'));
  const { connect } = await coordinated(t, host);
  usesNow = 400 * MiB;
  await host.pass(100);
  const { code, out } = await releaseOf(host, connect);
  t.equal(code, 1);
  t.match(out[1], /^busy: has 448MiB, not the 360MiB of before memcoord: it uses 400MiB, and keeps some spare$/);
  t.equal(host.guest('busy').kills, 0);
});

t.test('a dry run prints, and takes neither the lock nor any right to change something', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }));
  const { id, connect } = await coordinated(t, host);
  const held = await takeLock(id);
  const { target } = host.guest('fat');
  const readOnly: Connect = async (uri, options) => {
    t.ok(options.readOnly);
    const real = await connect(uri, options);
    return { ...real, setMemory: () => t.fail('nothing is set') as never, setStatsPeriod: () => t.fail('no period is set') as never };
  };
  const { code, out } = await releaseOf(host, readOnly, { dryRun: true });
  t.equal(code, 0);
  t.strictSame(out, ['fat: would have 1500MiB, as before memcoord']);
  t.equal(host.guest('fat').target, target);
  await held.release();
});

t.test('a host that is held is not touched, and who holds it is named, with what to do', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }));
  const { id, connect } = await coordinated(t, host);
  const held = await takeLock(id);
  await t.rejects(releaseOf(host, connect), { code: 'ERR_MEMCOORD_LOCKED', pid: process.pid, message: /memcoord release --stop/ });
  await held.release();
});

t.test('guests that are left out are left alone', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }), idle('build', { current: 1500 * MiB }));
  const { connect } = await coordinated(t, host);
  const { out } = await releaseOf(host, connect, { exclude: ['build'] });
  t.match(out[0], /^build: has \d+MiB, not the 1500MiB of before memcoord: left out by include\/exclude$/);
  t.equal(host.guest('fat').target, 1500 * MiB);
});

t.test('without guests, or where nothing is known of before, nothing is done', async (t) => {
  const none = await releaseOf(hostWith(), connectTo(hostWith()));
  t.strictSame(none, { code: 0, out: [], err: ['no guest is running'] });
  const host = new SimHost({ total: 16 * GiB, guests: [idle('a')] });
  t.strictSame((await releaseOf(host, connectTo(host))).out, [
    'a: is left at 512MiB: memcoord has not changed its size, as far as it knows',
  ]);
});
