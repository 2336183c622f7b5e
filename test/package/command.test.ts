/** The command as people start it: a process of its own, over the addon, on libvirt's built-in test driver. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { plainly } from '../environment.js';
import { startDaemon } from '../native/support.js';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Running {
  readonly child: ChildProcess;
  out(): string;
  err(): string;
  /** Resolves when stderr matches. */
  says(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Whatever a failed test has left running. */
const started: ChildProcess[] = [];
t.teardown(() => {
  for (const child of started) child.kill('SIGKILL');
});

/** Kept out of the machine's own. */
const STATE_FOLDER = t.testdir();
const STATE = { RUNTIME_DIRECTORY: STATE_FOLDER, STATE_DIRECTORY: STATE_FOLDER };

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const settings = Object.entries({ ...STATE, ...env }).map(([name, value]) => `${name}=${value}`);
  const child = spawn('env', plainly('env', ...settings, process.execPath, main, ...args), { stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  let [out, err] = ['', ''];
  child.stdout?.on('data', (data) => {
    out += String(data);
  });
  child.stderr?.on('data', (data) => {
    err += String(data);
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  return {
    child,
    out: () => out,
    err: () => err,
    ended,
    says: async (pattern) => {
      while (!pattern.test(err))
        await Promise.race([once(child.stderr ?? child, 'data'), ended.then(() => Promise.reject(new Error(err)))]);
    },
  };
}

t.test('status, monitor and doctor read the test driver and exit with 0', async (t) => {
  const status = start(['status', '-c', 'test:///default']);
  t.strictSame(await status.ended, { code: 0, signal: null });
  t.match(status.out(), /^Host \(MiB\): total \d+/);
  t.match(status.out(), /\ntest +steady +2048 +1024 +1024 /);
  t.equal(status.err(), '');
  const monitor = start(['monitor', '-c', 'test:///default', '--count', '1', '--machine']);
  t.strictSame(await monitor.ended, { code: 0, signal: null });
  t.equal(monitor.out(), 'memory,test,2048.0,1024.0\n');
  const doctor = start(['doctor', '--json'], { LIBVIRT_DEFAULT_URI: 'test:///default' });
  t.strictSame(await doctor.ended, { code: 0, signal: null });
  t.match(JSON.parse(doctor.out()), { uri: 'test:///default', guests: [{ name: 'test', coordinated: true }] });
});

t.test('libvirt that cannot be reached exits with 3 and says what to do', async (t) => {
  for (const command of ['run', 'status', 'monitor', 'doctor']) {
    const { ended, out, err } = start([command, '-c', 'qemu+unix:///system?socket=/nonexistent/socket']);
    t.strictSame(await ended, { code: 3, signal: null });
    t.equal(out(), '');
    t.match(err(), /memcoord: cannot reach libvirt at qemu\+unix:.*No such file or directory\nIs its daemon running\?/);
  }
});

t.test('the bare command runs; SIGTERM stops it with 0, SIGHUP does not; nothing goes to stdout', async (t) => {
  const file = join(t.testdir({ 'f.yaml': 'connect: test:///default\ninterval: 0.5\n' }), 'f.yaml');
  const running = start(['--config', file]);
  await running.says(/"kind":"connected","uri":"test:\/\/\/default"/);
  await writeFile(file, 'connect: test:///default\npol: 8GiB\n');
  running.child.kill('SIGHUP');
  await running.says(/configuration rejected/);
  running.child.kill('SIGTERM');
  t.strictSame(await running.ended, { code: 0, signal: null });
  t.equal(running.out(), '');
  t.ok(
    running
      .err()
      .trim()
      .split('\n')
      .every((line) => typeof JSON.parse(line) === 'object'),
    'every line of the log is JSON, where stderr is no terminal',
  );
});

t.test('a reader of the monitor that goes away ends it quietly', async (t) => {
  const { child, ended, err } = start(['monitor', '-c', 'test:///default', '--interval', '0.1']);
  await once(child.stdout ?? child, 'data');
  child.stdout?.destroy();
  t.strictSame(await ended, { code: 0, signal: null });
  t.notMatch(err(), 'EPIPE');
});

t.test('a second coordinator of the same host exits with 4 and the pid of the first; SIGKILL of the first lets it in', async (t) => {
  const { uri } = await startDaemon(t);
  const first = start(['run', '-c', uri]);
  await first.says(/"kind":"connected"/);
  const second = start(['run', '-c', uri]);
  t.strictSame(await second.ended, { code: 4, signal: null });
  t.match(second.err(), `memcoord: another coordinator holds this host: process ${first.child.pid}`);
  const rehearsal = start(['run', '-c', uri, '--dry-run']);
  await rehearsal.says(/"kind":"connected"/);
  rehearsal.child.kill('SIGINT');
  t.strictSame(await rehearsal.ended, { code: 0, signal: null }, 'a dry run gets in nobody’s way');
  first.child.kill('SIGKILL');
  await first.ended;
  const third = start(['run', '-c', uri]);
  await third.says(/"kind":"connected"/);
  third.child.kill('SIGTERM');
  t.strictSame(await third.ended, { code: 0, signal: null });
});

t.test('release is refused while a coordinator holds the host; --stop ends it first, however deaf it is', async (t) => {
  const { uri } = await startDaemon(t);
  const first = start(['run', '-c', uri]);
  await first.says(/"kind":"connected"/);
  const refused = start(['release', '-c', uri]);
  t.strictSame(await refused.ended, { code: 4, signal: null });
  t.match(refused.err(), `memcoord: another coordinator holds this host: process ${first.child.pid}; stop it first, or`);
  const allowed = start(['release', '-c', uri, '--stop']);
  t.strictSame(await first.ended, { code: 0, signal: null }, 'it is asked to stop, and does so cleanly');
  await allowed.ended;
  t.match(allowed.err(), `process ${first.child.pid} coordinates this host: asked to stop`);
  t.match(allowed.out(), /^test: /m);
  const deaf = start(['run', '-c', uri]);
  await deaf.says(/"kind":"connected"/);
  deaf.child.kill('SIGSTOP');
  const forced = start(['release', '-c', uri, '--stop']);
  t.strictSame(await deaf.ended, { code: null, signal: 'SIGKILL' });
  await forced.ended;
  t.match(forced.err(), `process ${deaf.child.pid} coordinates this host: did not stop in 10 s: killed`);
  t.match(forced.out(), /^test: /m);
});

t.test('a daemon that hangs does not keep the command from stopping', async (t) => {
  const { uri, pid } = await startDaemon(t);
  const running = start(['run', '-c', uri]);
  await running.says(/"kind":"guest-appeared"/);
  process.kill(pid, 'SIGSTOP');
  const asked = Date.now();
  running.child.kill('SIGTERM');
  t.strictSame(await running.ended, { code: 0, signal: null });
  process.kill(pid, 'SIGCONT');
  t.ok(Date.now() - asked < 20_000);
});

t.test('a connection that is lost is reported, and made again when the daemon answers', async (t) => {
  const { uri, pid } = await startDaemon(t);
  const running = start(['run', '-c', uri, '--interval', '0.5']);
  await running.says(/"kind":"guest-appeared"/);
  process.kill(pid, 'SIGSTOP');
  await running.says(/"kind":"lost"/);
  // The keepalive gives a connection up after 4 s without an answer.
  await new Promise((resolve) => setTimeout(resolve, 6000));
  process.kill(pid, 'SIGCONT');
  await running.says(/"kind":"connected"[\s\S]*"kind":"connected"/);
  running.child.kill('SIGTERM');
  t.strictSame(await running.ended, { code: 0, signal: null });
});
