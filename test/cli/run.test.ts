import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { UnreachableError } from '../../lib/cli/failure.js';
import { type RunOptions, run } from '../../lib/cli/run.js';
import type { Connect } from '../../lib/cli/session.js';
import { MiB } from '../../lib/common/units.js';
import { takeLock } from '../../lib/coordinator/lock.js';
import { statePlace } from '../../lib/coordinator/state.js';
import type { SimHost } from '../../lib/sim/host.js';
import { collected, connectTo, hostWith, idle } from './simulated.js';

interface Entry {
  readonly msg: string;
  readonly kind?: string;
  readonly reason?: string;
  readonly guest?: string;
  readonly applied?: boolean;
  readonly dryRun?: boolean;
  readonly config?: { readonly pool: number | null };
}

/** Runs until SIGTERM, given after `act`; returns the exit code and the log. */
async function runWhile(
  host: SimHost,
  options: RunOptions,
  act: () => Promise<unknown>,
  connect: Connect = connectTo(host),
): Promise<{ code: number; log: Entry[] }> {
  const { lines, print } = collected();
  const ended = run({ logFormat: 'json', ...options }, { connect, write: print, time: host.time });
  let over = false;
  ended
    .catch(() => {})
    .finally(() => {
      over = true;
    });
  await act();
  // Without the command's listener the signal would be the test's own end.
  if (!over) process.emit('SIGTERM', 'SIGTERM');
  await host.pass(1000);
  const code = await ended;
  return { code, log: lines.map((line) => JSON.parse(line)) };
}

t.test('guests are coordinated until SIGTERM, which puts their stats periods back and exits with 0', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }), idle('lean'));
  const listeners = process.listenerCount('SIGTERM');
  const { code, log } = await runWhile(host, {}, () => host.pass(20_000));
  t.equal(code, 0);
  t.ok(log.some(({ msg, guest, applied }) => msg === 'move' && guest === 'fat' && applied === true));
  t.ok(host.guest('fat').target < 1500 * MiB);
  t.strictSame(
    host.guests.map(({ period }) => period),
    [0, 0],
  );
  t.match(log.at(0)?.msg, /every 1 s, no pool/);
  t.equal(log.at(-1)?.msg, 'SIGTERM: stopping');
  t.equal(process.listenerCount('SIGTERM'), listeners, 'no listener is left behind');
});

t.test('a dry run reports moves, and changes neither sizes nor stats periods, over a read-only connection', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }));
  host.guest('fat').setPeriod(1);
  const rights: boolean[] = [];
  const connect: Connect = async (uri, { readOnly }) => {
    rights.push(readOnly);
    return connectTo(
      host,
      () =>
        ({
          setMemory: () => t.fail('no size is set'),
          setStatsPeriod: () => t.fail('no period is set'),
          hostId: () => t.fail('no lock is taken'),
        }) as never,
    )(uri, { readOnly });
  };
  const { code, log } = await runWhile(host, { dryRun: true }, () => host.pass(10_000), connect);
  t.equal(code, 0);
  t.strictSame(rights, [true]);
  t.ok(log.some(({ msg, applied, dryRun }) => msg === 'move' && applied === false && dryRun === true));
  t.equal(host.guest('fat').target, 1500 * MiB);
});

t.test('without guests it waits, says so once, and takes in a guest that starts, after its rest', async (t) => {
  const host = hostWith();
  const { log } = await runWhile(host, {}, async () => {
    await host.pass(5000);
    host.start(idle('late', { current: 1500 * MiB }));
    await host.pass(135_000);
  });
  t.equal(log.filter(({ kind }) => kind === 'no-guests').length, 1);
  t.ok(log.some(({ msg, guest }) => msg === 'move' && guest === 'late'));
});

t.test('a second coordinator of the same host is refused with the pid of the first', async (t) => {
  const id = randomUUID();
  const held = await takeLock(id);
  const host = hostWith();
  let closed = 0;
  process.env.RUNTIME_DIRECTORY = process.env.STATE_DIRECTORY = t.testdir();
  t.teardown(() => {
    delete process.env.RUNTIME_DIRECTORY;
    delete process.env.STATE_DIRECTORY;
  });
  const connect = connectTo(host, () => ({ hostId: async () => id, close: async () => void closed++ }));
  await t.rejects(
    runWhile(host, {}, () => host.pass(100), connect),
    { code: 'ERR_MEMCOORD_LOCKED', pid: process.pid },
  );
  t.equal(closed, 1, 'its connection is closed');
  await held.release();
  t.equal((await runWhile(host, {}, () => host.pass(1000), connect)).code, 0, 'and let in once the first is gone');
  const again = await takeLock(id);
  await again.release();
});

t.test('a host that has another id after its daemon was started anew is held by that too, and both are given back', async (t) => {
  const ids = [randomUUID(), randomUUID()] as const;
  process.env.RUNTIME_DIRECTORY = process.env.STATE_DIRECTORY = t.testdir();
  t.teardown(() => {
    delete process.env.RUNTIME_DIRECTORY;
    delete process.env.STATE_DIRECTORY;
  });
  const host = hostWith(idle('one'));
  let id: string = ids[0];
  await runWhile(
    host,
    {},
    async () => {
      // The configuration, the lock and the state are read in real time, of which the simulated host knows nothing.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await host.pass(2000);
      id = ids[1];
      host.tell({ kind: 'closed', reason: 'eof' });
      await new Promise((resolve) => setTimeout(resolve, 200));
      await host.pass(5000);
      for (const each of ids) await t.rejects(takeLock(each), { code: 'ERR_MEMCOORD_LOCKED', pid: process.pid });
    },
    connectTo(host, () => ({ hostId: async () => id })),
  );
  for (const each of ids) await (await takeLock(each)).release();
});

t.test('what must outlive the process is kept while it runs, and a broken record of the last one is reported', async (t) => {
  const id = randomUUID();
  process.env.RUNTIME_DIRECTORY = process.env.STATE_DIRECTORY = t.testdir();
  t.teardown(() => {
    delete process.env.RUNTIME_DIRECTORY;
    delete process.env.STATE_DIRECTORY;
  });
  const { path } = statePlace('sim:///host', id);
  await writeFile(path, '{"half":');
  const host = hostWith(idle('one'));
  const record = () => JSON.parse(readFileSync(path, 'utf8')) as { guests: Record<string, object> };
  const { code, log } = await runWhile(
    host,
    {},
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      await host.pass(5000);
      await new Promise((resolve) => setTimeout(resolve, 200));
      t.match(record().guests, { [host.guest('one').uuid]: { period: { original: 0, set: 1 } } });
    },
    connectTo(host, () => ({ hostId: async () => id })),
  );
  t.equal(code, 0);
  t.match(record().guests, { [host.guest('one').uuid]: { period: null, balloon: { original: 512 * MiB } } });
  t.match(
    log.filter(({ kind }) => kind === 'state').map(({ msg }) => msg),
    [/set aside as .*\.bad/],
  );
});

t.test('SIGHUP reads the configuration again; a bad one is refused and the old one stays', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'pool: 4GiB\n' }), 'f.yaml');
  const host = hostWith(idle('one'));
  const hangUp = async (text: string): Promise<void> => {
    await writeFile(file, text);
    process.emit('SIGHUP', 'SIGHUP');
    // The file is read in real time, of which the simulated host knows nothing.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(2000);
  };
  const { log } = await runWhile(host, { config: file, interval: '2' }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(2000);
    await hangUp('pool: 5GiB\nconnect: test:///default\n');
    await hangUp('pol: 6GiB\n');
  });
  const reported = log.filter(({ kind }) => kind === 'config').map(({ msg }) => msg);
  t.match(reported[0], 'configuration read again; connect: test:///default takes a restart');
  t.match(reported[1], /rejected, the old one stays in force: .*f\.yaml:1: pol: no such setting, did you mean 'pool'\?/);
  t.equal(reported.length, 2);
  const pools = log.filter(({ config }) => config !== undefined).map(({ config }) => config?.pool);
  t.strictSame(pools, [4096 * MiB, 5120 * MiB]);
});

t.test('SIGHUP with a file that is gone, a folder in its place, or YAML that nobody can read keeps the old configuration', async (t) => {
  const folder = t.testdir({ 'f.yaml': 'pool: 4GiB\n', 'a-folder': {} });
  const file = join(folder, 'f.yaml');
  const host = hostWith(idle('one'));
  const hangUp = async (): Promise<void> => {
    process.emit('SIGHUP', 'SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 200));
    await host.pass(2000);
  };
  const { code, log } = await runWhile(host, { config: file }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(2000);
    await rm(file);
    await hangUp();
    await mkdir(file);
    await hangUp();
    await rmdir(file);
    await writeFile(file, '['.repeat(50_000));
    await hangUp();
    await writeFile(file, 'pool: 5GiB\n');
    await hangUp();
  });
  t.equal(code, 0);
  const reported = log.filter(({ kind }) => kind === 'config').map(({ msg }) => msg);
  t.match(reported, [/rejected, the old one stays in force: .*ENOENT/, /rejected.*it is a folder/, /rejected/, /configuration read again/]);
  const pools = log.filter(({ config }) => config !== undefined).map(({ config }) => config?.pool);
  t.strictSame(pools, [4096 * MiB, 5120 * MiB]);
});

t.test('SIGHUP with a pipe in place of the file keeps the old configuration, and holds no thread that reads other files', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'pool: 4GiB\n' }), 'f.yaml');
  const host = hostWith(idle('one'));
  const { log } = await runWhile(host, { config: file }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(2000);
    await rm(file);
    execFileSync('mkfifo', [file]);
    // One more than libuv has threads.
    for (let i = 0; i < 5; i++) process.emit('SIGHUP', 'SIGHUP');
    t.match(await readFile('/proc/meminfo', 'utf8'), /MemAvailable/);
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  const reported = log.filter(({ kind }) => kind === 'config').map(({ msg }) => msg);
  t.match(reported, new Array(5).fill(/rejected, the old one stays in force: .*it is a pipe/));
});

t.test('SIGHUP while the file is saved, and empty for a moment, keeps the old configuration; {} stands for all defaults', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'pool: 4GiB\n' }), 'f.yaml');
  const host = hostWith(idle('one'));
  const { log } = await runWhile(host, { config: file }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(2000);
    for (const text of ['', '{}']) {
      await writeFile(file, text);
      process.emit('SIGHUP', 'SIGHUP');
      await new Promise((resolve) => setTimeout(resolve, 100));
      await host.pass(2000);
    }
  });
  const reported = log.filter(({ kind }) => kind === 'config').map(({ msg }) => msg);
  t.match(reported, [/rejected, the old one stays in force: .*f\.yaml: is empty/, /configuration read again/]);
  const pools = log.filter(({ config }) => config !== undefined).map(({ config }) => config?.pool);
  t.strictSame(pools, [4096 * MiB, null]);
});

t.test('SIGHUP with another interval sets the stats periods anew, and stopping still puts back those of before', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'interval: 1\n' }), 'f.yaml');
  const host = hostWith(idle('one'));
  host.guest('one').setPeriod(7);
  const periods: number[] = [];
  await runWhile(host, { config: file }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(3000);
    periods.push(host.guest('one').period);
    await writeFile(file, 'interval: 3\n');
    process.emit('SIGHUP', 'SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(5000);
    periods.push(host.guest('one').period);
  });
  t.strictSame([...periods, host.guest('one').period], [1, 3, 7]);
});

t.test('SIGHUP with a pool that is less than the guests hold has it worked off, and nobody grows meanwhile', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'pool: 8GiB\n' }), 'f.yaml');
  const host = hostWith(
    idle('a', { current: 1000 * MiB, uses: () => 600 * MiB }),
    idle('b', { current: 1000 * MiB, uses: () => 600 * MiB }),
  );
  const { log } = await runWhile(host, { config: file }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(10_000);
    await writeFile(file, 'pool: 1400MiB\n');
    process.emit('SIGHUP', 'SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(20_000);
  });
  const moves = log.filter(({ msg }) => msg === 'move');
  t.ok(moves.some(({ reason }) => reason === 'over-capacity'));
  t.ok(host.guests.reduce((sum, { actual }) => sum + actual, 0) <= 1400 * MiB);
  t.ok(host.guests.every(({ kills, actual }) => kills === 0 && actual >= 640 * MiB));
});

t.test('--on-exit restore gives the guests back what they had when it is stopped', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB }));
  const sizes: number[] = [];
  const act = async (): Promise<void> => {
    await host.pass(40_000);
    sizes.push(host.guest('fat').target);
    process.emit('SIGTERM', 'SIGTERM');
    await host.pass(30_000);
  };
  const { code, log } = await runWhile(host, { onExit: 'restore' }, act);
  t.equal(code, 0);
  t.ok((sizes[0] ?? 0) < 800 * MiB);
  t.equal(host.guest('fat').target, 1500 * MiB);
  t.match(log.at(-1), { msg: 'move', reason: 'restore', applied: true });
  t.equal(host.guest('fat').period, 0);
});

t.test('a second signal does not wait until the guests have been given back what they had', async (t) => {
  const host = hostWith(idle('fat', { current: 1500 * MiB, speed: 5 * MiB }));
  const { code } = await runWhile(host, { onExit: 'restore' }, async () => {
    await host.pass(10_000);
    process.emit('SIGTERM', 'SIGTERM');
    await host.pass(1000);
  });
  t.equal(code, 1);
});

t.test('SIGHUP without a configuration file changes nothing, and says so', async (t) => {
  const host = hostWith();
  const { code, log } = await runWhile(host, {}, async () => {
    await host.pass(1000);
    process.emit('SIGHUP', 'SIGHUP');
    await host.pass(1000);
  });
  t.equal(code, 0);
  t.ok(log.some(({ msg }) => msg === 'SIGHUP: there is no --config file to read again'));
});

t.test('a lost connection is reported once, with what to do, and made again', async (t) => {
  const host = hostWith(idle('one'));
  let fail = false;
  const connect = connectTo(host, (real) => ({
    sample: (options) =>
      fail ? Promise.reject(Object.assign(new Error('broken pipe'), { code: 'ERR_LIBVIRT_RPC' })) : real.sample(options),
    isAlive: () => !fail,
  }));
  const { log } = await runWhile(
    host,
    { connect: 'sim:///host' },
    async () => {
      await host.pass(3000);
      fail = true;
      await host.pass(5000);
      fail = false;
      await host.pass(40_000);
    },
    connect,
  );
  t.strictSame(
    log.filter(({ kind }) => kind === 'lost').map(({ msg }) => msg),
    ['broken pipe; retrying; the guests keep their sizes meanwhile. Does libvirt answer? virsh -c sim:///host list'],
  );
  t.ok(log.filter(({ kind }) => kind === 'connected').length >= 2);
});

t.test('a daemon that has ended is reported with the command that starts it', async (t) => {
  const host = hostWith(idle('one'));
  let up = true;
  const connect: Connect = (uri, options) =>
    up ? connectTo(host)(uri, options) : Promise.reject(new UnreachableError(uri, new Error('No such file or directory')));
  const { log } = await runWhile(
    host,
    { connect: 'qemu:///system' },
    async () => {
      await host.pass(3000);
      up = false;
      host.tell({ kind: 'closed', reason: 'the daemon ended' });
      await host.pass(20_000);
      up = true;
      await host.pass(40_000);
    },
    connect,
  );
  const lost = log.filter(({ kind }) => kind === 'lost').map(({ msg }) => msg);
  t.match(lost, [/^cannot reach libvirt at qemu:\/\/\/system: .*; retrying.*\. Is its daemon running\? systemctl start libvirtd/]);
});

t.test('a first connection that fails is an error', async (t) => {
  const host = hostWith();
  const error = new UnreachableError('qemu:///system', new Error('No such file or directory'));
  await t.rejects(
    runWhile(
      host,
      {},
      () => host.pass(10),
      () => Promise.reject(error),
    ),
    error,
  );
});

t.test('a signal ends the wait for a first connection that never comes', async (t) => {
  const host = hostWith();
  const { code } = await runWhile(
    host,
    {},
    () => host.pass(10),
    () => new Promise(() => {}),
  );
  t.equal(code, 0);
});

t.test('a second signal does not wait for what hangs', async (t) => {
  const host = hostWith();
  const connect = connectTo(host, () => ({ close: () => new Promise(() => {}) }));
  const { code } = await runWhile(
    host,
    {},
    async () => {
      await host.pass(1000);
      process.emit('SIGINT', 'SIGINT');
      await host.pass(1000);
    },
    connect,
  );
  t.equal(code, 1);
});

t.test('a recording has a header with version and configuration, and a line for each sample', async (t) => {
  const file = join(t.testdir(), 'record.jsonl');
  const host = hostWith(idle('one'));
  await runWhile(host, { record: file, pool: '4GiB' }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(5000);
  });
  const [header, ...samples] = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(header, { kind: 'header', memcoord: /^\d+\.\d+\.\d+/, config: { pool: 4096 * MiB } });
  t.ok(samples.length >= 5);
  t.match(samples[0], { kind: 'sample', at: Number, guests: [{ name: 'one' }], figures: Array, moves: Array });
});

t.test('a recording that cannot be opened is wrong use', async (t) => {
  await t.rejects(run({ record: '/nonexistent/x' }, { connect: connectTo(hostWith()), write: () => {} }), {
    code: 'ERR_MEMCOORD_USAGE',
    message: /--record/,
  });
});

t.test('a recording into a pipe, which nobody may ever read, is wrong use', async (t) => {
  const record = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [record]);
  await t.rejects(run({ record }, { connect: connectTo(hostWith()), write: () => {} }), {
    code: 'ERR_MEMCOORD_USAGE',
    message: /--record: .*is a pipe/,
  });
});

t.test('a recording is not written over the configuration', async (t) => {
  const file = join(t.testdir({ 'c.yaml': 'interval: 2\n' }), 'c.yaml');
  await t.rejects(run({ record: file, config: file }, { connect: connectTo(hostWith()), write: () => {} }), {
    code: 'ERR_MEMCOORD_USAGE',
    message: /^option --record: .* is the input file/,
  });
  t.equal(readFileSync(file, 'utf8'), 'interval: 2\n');
});

t.test('a recording that fails later does not stop the coordinator', async (t) => {
  const host = hostWith(idle('one'));
  // Every write to /dev/full fails for want of space.
  const { code, log } = await runWhile(host, { record: '/dev/full' }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await host.pass(5000);
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  t.equal(code, 0);
  t.equal(log.filter(({ kind }) => kind === 'record').length, 1);
});

t.test('settings that are not allowed are refused before anything is opened', async (t) => {
  const connect: Connect = () => t.fail('nothing is opened') as never;
  await t.rejects(run({ pool: '8' }, { connect, write: () => {} }), {
    code: 'ERR_MEMCOORD_USAGE',
    message: /^option --pool: '8' is not a size/,
  });
  await t.rejects(run({ config: '/nonexistent' }, { connect, write: () => {} }), { code: 'ERR_MEMCOORD_CONFIG' });
});
