/** The polkit rule of docs/security.md, on a libvirtd that asks polkit for each call. */
import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CPU_TIME, ERROR, READ, READS, REFRESHED, STATUS } from '../../lib/sweep.js';
import { childOf, type Guarded, hindrance, startGuarded } from './guarded.js';
import { METADATA, ROOT, SOON, until } from './support.js';

const rule = await readFile(join(ROOT, 'docs/50-memcoord.rules'), 'utf8');
const granted = [...rule.matchAll(/'(org\.libvirt\.\w+\.[\w.-]+)',/g)].map(([, action]) => action ?? '');

const XML = `<domain type='qemu'><name>web</name><memory unit='MiB'>128</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='virtio'/></devices></domain>`;

/** Makes each call that memcoord makes, once, and says what became of it. */
const CALLS = `
  const binding = require('node-gyp-build')(${JSON.stringify(ROOT)});
  const SOON = ${JSON.stringify(SOON)};
  const outcomes = {};
  const make = async (name, call) => {
    outcomes[name] = await call().then(() => 'done', (error) => error.code + ': ' + error.message);
  };
  (async () => {
    let connection;
    await make('open', async () => {
      connection = await binding.open(process.argv[1], { readOnly: process.argv[2] === 'ro', ...SOON });
    });
    if (connection === undefined) return;
    let uuid;
    connection.onEvent(() => {});
    await make('sample', async () => {
      const { guests, figures } = await connection.sample(SOON);
      uuid = guests[0]?.uuid;
      if (uuid === undefined) throw { code: 'NONE', message: 'no guest is shown' };
      if (figures[${STATUS}] !== ${READ}) throw { code: figures[${ERROR}], message: 'the guest was not read' };
    });
    uuid ??= process.argv[3];
    await make('describe', () => connection.describe(uuid, { ...SOON, metadataUri: '${METADATA}' }));
    await make('setMemory', async () => {
      const [error] = await connection.setMemory([{ uuid, kib: 120 * 1024 }], SOON);
      if (error !== null) throw error;
    });
    await make('setStatsPeriod', () => connection.setStatsPeriod(uuid, 1, SOON));
    await make('refresh', async () => {
      const { figures } = await connection.sample({ ...SOON, refresh: [{ uuid, seconds: 1 }] });
      if (figures[${REFRESHED}] !== 0) throw { code: figures[${REFRESHED}], message: 'not refreshed' };
    });
    await make('reads', async () => {
      const { figures } = await connection.sample({ ...SOON, reads: [uuid] });
      if (!(figures[${READS}] >= 0)) throw { code: 'NONE', message: 'disk reads are not told' };
    });
    await make('nodeMemory', () => connection.nodeMemory(SOON));
    await make('capabilities', () => connection.capabilities(SOON));
    await connection.close(SOON);
  })().then(() => console.log(JSON.stringify(outcomes)));
`;

async function callsOf(guarded: Guarded, user: 'memcoord' | 'nobody', mode = 'rw', uuid = ''): Promise<Record<string, string>> {
  const { stdout, stderr } = await guarded.run(
    user,
    process.execPath,
    '-e',
    CALLS,
    mode === 'ro' ? `${guarded.uri}-ro` : guarded.uri,
    mode,
    uuid,
  );
  return stdout === '' ? { failed: stderr } : (JSON.parse(stdout) as Record<string, string>);
}

t.test(
  'the polkit rule grants memcoord what it needs, and nothing else',
  { skip: await hindrance(), timeout: 240_000 },
  async (t: Test) => {
    const guarded = await startGuarded(rule);
    t.teardown(() => guarded.end());
    const { uri, state, run, setRule } = guarded;
    const file = join(t.testdir(), 'web.xml');
    await writeFile(file, XML);
    t.match(await run('root', 'virsh', '-c', uri, 'create', file), { code: 0 }, 'a guest runs');
    const uuid = (await run('root', 'virsh', '-c', uri, 'domuuid', 'web')).stdout.trim();

    await t.test('all calls of memcoord are allowed', async (t) => {
      const outcomes = await callsOf(guarded, 'memcoord');
      t.strictSame(
        outcomes,
        Object.fromEntries(
          ['open', 'sample', 'describe', 'setMemory', 'setStatsPeriod', 'refresh', 'reads', 'nodeMemory', 'capabilities'].map((name) => [
            name,
            'done',
          ]),
        ),
      );
      t.match((await run('root', 'virsh', '-c', uri, 'dumpxml', 'web')).stdout, /<stats period='1'\/>/);
    });

    await t.test('others are refused', async (t) => {
      const commands = [
        ['destroy', 'web'],
        ['suspend', 'web'],
        ['resume', 'web'],
        ['reset', 'web'],
        ['reboot', 'web'],
        ['shutdown', 'web'],
        ['managedsave', 'web'],
        ['screenshot', 'web', '/dev/null'],
        ['dump', 'web', '/tmp/memcoord-core', '--memory-only'],
        ['send-key', 'web', 'KEY_A'],
        ['dumpxml', 'web', '--security-info'],
        ['setmem', 'web', '120MiB', '--config'],
        ['setmem', 'web', '120MiB', '--live', '--config'],
        ['define', file],
        ['create', file],
        ['undefine', 'web'],
        ['net-list', '--all'],
        ['pool-list', '--all'],
        ['nodedev-list'],
        ['secret-list'],
      ];
      const answers = await Promise.all(commands.map((args) => run('memcoord', 'virsh', '-c', uri, ...args)));
      for (const [i, { code, stderr }] of answers.entries()) {
        const words = commands[i]?.join(' ') ?? '';
        t.not(code, 0, words);
        t.match(stderr, /access denied/, words);
      }
      const mouse = join(t.testdir(), 'mouse.xml');
      await writeFile(mouse, "<input type='mouse' bus='usb'/>");
      t.match(
        await run('memcoord', 'virsh', '-c', uri, 'attach-device', 'web', mouse, '--live'),
        { code: 0 },
        'but not those of domain.write',
      );
      t.match((await run('root', 'virsh', '-c', uri, 'domstate', 'web')).stdout, /^running/, 'the guest is as it was');
    });

    await t.test('without any one of its permissions memcoord is refused something', async (t) => {
      for (const action of granted) {
        await setRule(rule.replace(`    '${action}',\n`, ''));
        const mode = action === 'org.libvirt.unix.monitor' ? 'ro' : 'rw';
        const outcomes = await callsOf(guarded, 'memcoord', mode, uuid);
        const refused = Object.entries(outcomes).filter(([, outcome]) => outcome !== 'done');
        t.comment(`${action}: ${refused.map(([name, outcome]) => `${name} (${outcome})`).join('; ')}`);
        if (mode === 'ro') t.match(outcomes.open, /AUTH|denied/i, action);
        else t.ok(refused.length > 0, action);
      }
      await setRule(rule);
    });

    await t.test('others get nothing by it', async (t) => {
      t.match((await callsOf(guarded, 'nobody')).open, /ERR_/);
      t.match((await callsOf(guarded, 'nobody', 'ro')).setMemory, /ERR_LIBVIRT/);
    });

    await t.test('the command runs as that user, reads the times of the virtual CPUs, and keeps its state where it is told', async (t) => {
      const command = join(ROOT, 'dist/cli/main.js');
      const report = await run('memcoord', process.execPath, command, 'doctor', '--json', '-c', uri);
      t.match(JSON.parse(report.stdout), { guests: [{ name: 'web' }] });
      t.notMatch(report.stdout, 'can read but not change');
      const child = guarded.start(process.execPath, command, 'run', '-c', uri, '--log-format', 'json', '--record', join(state, 'record'));
      let err = '';
      child.stderr?.on('data', (data) => {
        err += String(data);
      });
      await until('four lines', async () => (await readFile(join(state, 'record'), 'utf8').catch(() => '')).split('\n').length > 4, 30_000);
      process.kill(await childOf(child), 'SIGTERM');
      await once(child, 'close');
      t.match(err, /"kind":"connected"/);
      t.notMatch(err, /"level":(40|50)/, 'nothing to complain of');
      const record = (await readFile(join(state, 'record'), 'utf8')).trim().split('\n');
      const { figures } = JSON.parse(record.at(-1) ?? '') as { figures: (number | null)[] };
      t.ok((figures[CPU_TIME] ?? 0) > 0, 'CPU time of the guest');
      const [kept] = (await readdir(state)).filter((name) => name.endsWith('.json'));
      t.equal((await stat(join(state, kept ?? ''))).mode & 0o777, 0o600, 'nobody else reads its state');
    });
  },
);
